"""Keys in the console: made, shown once, changed, rotated, revoked."""

from pathlib import Path
from typing import Any

import pytest

from server.accounts.principal import Principal
from tests.support.admin_site import AdminSite, admin_site
from tests.support.given_session import GivenSessions
from tests.support.html_forms import SeenPage, Visitor

pytestmark = pytest.mark.anyio

KEYS, NEW = "/console/keys", "/console/keys/new"
AUDITOR = Principal(kind="member", name="m_auditor", role="auditor", title="Alan")


async def keys(site: AdminSite, **asked: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = await site.ask("GET", "/admin/v1/keys", params=asked)
    return found


async def test_a_new_key_is_shown_once_and_a_reload_makes_no_other(
    site: AdminSite, visitor: Visitor
) -> None:
    form = await visitor.open(NEW)
    made = await visitor.send(form, NEW, name="web", owner="acme")
    assert (made.status_code, made.headers["cache-control"]) == (200, "no-store")
    text = SeenPage(made).by_id["text"]
    assert text.startswith("wayscloud_llm_")
    again = await visitor.send(form, NEW, name="web", owner="acme")
    assert (again.status_code, again.headers["location"]) == (303, f"{KEYS}?done=key-shown")
    [key] = await keys(site, q="web")
    for path in (again.headers["location"], f"{KEYS}/{key['key_id']}", f"{KEYS}?q=web"):
        assert text not in (await site.client.get(path)).text
    answer = await site.client.get("/v1/models", headers={"X-API-Key": text})
    assert answer.status_code in (200, 401)  # 401: the ring has not seen it yet


ALL = {
    "name": "all of it",
    "owner": "acme",
    "expires_at": "2030-06-30T12:00",
    "budget__amount": "500.5",
    "budget__kind": "money",
    "budget__period": "day",
    "currency": "NOK",
    "requests_per_minute": "60",
    "burst": "0",
    "concurrent": "4",
    "tokens_per_minute": "1000000",
    "price_factor": "0.85",
    "models": "mixtral-8x7b\r\n\r\n another \r\n",
}


async def test_every_field_of_a_key_can_be_given(site: AdminSite, visitor: Visitor) -> None:
    assert (await visitor.send(await visitor.open(NEW), NEW, **ALL)).status_code == 200
    [key] = await keys(site, q="all of it")
    assert key["models"] == ["another", "mixtral-8x7b"]
    assert key["budget"] == {"kind": "money", "amount": "500.5", "period": "day"}
    assert key["expires_at"] == "2030-06-30T12:00:00Z"
    limits = ("requests_per_minute", "burst", "concurrent", "tokens_per_minute")
    assert [key[name] for name in limits] == [60, 0, 4, 1_000_000]
    assert (key["currency"], key["price_factor"], key["service"]) == ("NOK", "0.85", "llm")
    admin = await visitor.send(await visitor.open(NEW), NEW, name="root 2", admin="yes")
    assert "wayscloud_admin_" in SeenPage(admin).by_id["text"]


@pytest.mark.parametrize(
    ("field", "typed", "said"),
    [
        ("name", " ", "at least 1 character"),
        ("name", "x" * 201, "at most 200 characters"),
        ("budget.amount", "much", "valid decimal"),
        ("budget.amount", "-1", "greater than or equal to 0"),
        ("requests_per_minute", "0", "greater than or equal to 1"),
        ("burst", "1.5", "valid integer"),
        ("price_factor", "11", "less than or equal to 10"),
        ("currency", "GBP", "NOK"),
        ("expires_at", "2001-01-01T00:00", "it is over"),
        ("models", "\n".join(map(str, range(1001))), "at most 1000 items"),
        ("models", "good\n" + "x" * 201, "at most 200 characters"),
    ],
)
async def test_what_is_refused_is_said_beside_its_field_and_all_that_was_typed_stays(
    site: AdminSite, visitor: Visitor, field: str, typed: str, said: str
) -> None:
    whole = {**ALL, field.replace(".", "__"): typed}
    refused = await visitor.send(await visitor.open(NEW), NEW, **whole)
    assert refused.status_code == 400
    page = SeenPage(refused)
    assert [name for name, one in page.fields.items() if one.is_wrong] == [field]
    assert said in page.said_of(field)
    values = page.forms[NEW].values
    for name, text in whole.items():
        assert values[name.replace("__", ".")].strip() == text.replace("\r\n", "\n").strip()
    mended = await visitor.send(page, NEW, **ALL)
    assert mended.status_code == 200
    assert len(await keys(site, q="all of it")) == 1


async def test_fields_that_are_wrong_together_are_said_above_them(visitor: Visitor) -> None:
    whole = {**ALL, "currency": ""}
    refused = await visitor.send(await visitor.open(NEW), NEW, **whole)
    assert refused.status_code == 400
    assert "a budget of money needs the key" in SeenPage(refused).text


async def test_a_change_leaves_alone_what_another_changed_meanwhile(
    site: AdminSite, visitor: Visitor
) -> None:
    await visitor.send(await visitor.open(NEW), NEW, **ALL)
    [key] = await keys(site, q="all of it")
    path = f"{KEYS}/{key['key_id']}/edit"
    form = await visitor.open(path)
    await site.ask("PATCH", f"/admin/v1/keys/{key['key_id']}", json={"concurrent": 9, "burst": 7})
    done = await visitor.send(form, path, burst="3", models="", expires_at="")
    assert done.headers["location"] == f"{KEYS}/{key['key_id']}?done=key-changed"
    after = await site.ask("GET", f"/admin/v1/keys/{key['key_id']}")
    changes = {"burst": 3, "concurrent": 9, "models": None, "expires_at": None}
    assert after == {**key, **changes, "used": after["used"]}


@pytest.mark.parametrize(
    ("typed", "budget"),
    [
        ({"budget__amount": ""}, None),
        ({"budget__period": "total"}, {"kind": "money", "amount": "500.5", "period": "total"}),
        ({"currency": "EUR"}, {"kind": "money", "amount": "500.5", "period": "day"}),
        (
            {"budget__kind": "tokens", "budget__amount": "7"},
            {"kind": "tokens", "amount": "7", "period": "day"},
        ),
    ],
)
async def test_a_budget_is_changed_as_a_whole(
    site: AdminSite, visitor: Visitor, typed: dict[str, str], budget: dict[str, str] | None
) -> None:
    await visitor.send(await visitor.open(NEW), NEW, **ALL)
    [key] = await keys(site, q="all of it")
    path = f"{KEYS}/{key['key_id']}/edit"
    assert (await visitor.send(await visitor.open(path), path, **typed)).status_code == 303
    assert (await site.ask("GET", f"/admin/v1/keys/{key['key_id']}"))["budget"] == budget


async def test_a_rotated_key_has_its_new_text_shown_once(site: AdminSite, visitor: Visitor) -> None:
    [key] = await keys(site, q="app")
    path = f"{KEYS}/{key['key_id']}/rotate"
    form = await visitor.open(path)
    for hours, said in (("9000", "less than or equal to 31622400"), ("soon", "valid number")):
        refused = await visitor.send(form, path, grace_s=hours)
        page = SeenPage(refused)
        assert said in page.said_of("grace_s")
        assert page.forms[path].values["grace_s"] == hours
    made = await visitor.send(form, path, grace_s="0.5")
    text = SeenPage(made).by_id["text"]
    assert text != site.llm_key
    assert text.startswith(f"wayscloud_llm_{key['key_id']}_")
    again = await visitor.send(form, path, grace_s="0.5")
    assert again.headers["location"] == f"{KEYS}/{key['key_id']}?done=key-shown"
    assert (await site.ask("GET", f"/admin/v1/keys/{key['key_id']}"))["previous_until"]


async def test_revoking_asks_first_and_needs_the_sessions_token(
    site: AdminSite, visitor: Visitor
) -> None:
    [key] = await keys(site, q="app")
    path = f"{KEYS}/{key['key_id']}/revoke"
    form = await visitor.open(path)
    assert (await visitor.send(form, path, csrf="another")).status_code == 403
    assert (await keys(site, q="app"))[0]["state"] == "active"
    done = await visitor.send(form, path)
    assert done.headers["location"] == f"{KEYS}/{key['key_id']}?done=key-revoked"
    page = await visitor.open(done.headers["location"])
    assert "The key is revoked" in page.text
    assert not [link for link in page.links if link.endswith(("/edit", "/rotate", "/revoke"))]


async def test_the_list_is_filtered_and_comes_a_part_at_a_time(
    site: AdminSite, visitor: Visitor
) -> None:
    for number in range(60):
        await site.ask("POST", "/admin/v1/keys", 201, json={"name": f"k {number}", "owner": "o&o"})
    first = await visitor.open(f"{KEYS}?owner=o%26o")
    assert "1–50 of 60 keys" in first.text
    [following] = {link for link in first.links if "page=2" in link}
    second = await visitor.open(following)
    assert "51–60 of 60 keys" in second.text
    assert "k 0" in second.text
    for path, said in (
        ("?page=99", "None of 62 keys on this page"),
        ("?q=nothing+like+it", "No key is like that."),
        ("?member=nobody", "No member has the name or id 'nobody'."),
        ("?state=gone", "state: Input should be"),
    ):
        assert said in (await visitor.open(KEYS + path)).text


@pytest.mark.parametrize("page", ["-1", "1e9", "x" * 5000, "٣", "999999999999"])
async def test_a_number_that_is_none_is_the_first_page(visitor: Visitor, page: str) -> None:
    assert "keys" in (await visitor.open(f"{KEYS}?page={page}")).text


async def test_an_auditor_sees_all_and_no_button(tmp_path: Path) -> None:
    async with admin_site(tmp_path, GivenSessions(AUDITOR)) as site:
        [key] = await keys(site, q="app")
        for path in (KEYS, f"{KEYS}/{key['key_id']}"):
            page = SeenPage(await site.client.get(path))
            assert "app" in page.text
            posted = [form.action for form in page.forms.values() if form.method == "post"]
            assert posted == ["/console/sign-out"]
            assert not [link for link in page.links if link.endswith(("/new", "/edit", "/rotate"))]


@pytest.mark.parametrize("hours", ["1e999999", "9" * 4000, "NaN", "-1", "inf", "soon"])
async def test_hours_that_are_none_are_refused_on_the_page(site: AdminSite, hours: str) -> None:
    made = await site.ask("POST", "/admin/v1/keys", 201, json={"name": "n"})
    path = f"/console/keys/{made['key_id']}/rotate"
    page = await site.client.post(path, data={"csrf": "token", "grace_s": hours})
    assert page.status_code == 400
    assert "<h1" in page.text
