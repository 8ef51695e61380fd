"""/admin/v1/owners, …/members and …/site: made, shown and changed over HTTP."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.admin_site import AdminSite, admin_site

pytestmark = pytest.mark.anyio

OWNERS, MEMBERS, KEYS = "/admin/v1/owners", "/admin/v1/members", "/admin/v1/keys"
LIMITS = {"requests_per_minute": 60, "burst": 0, "concurrent": 4, "tokens_per_minute": 10**12}
BUDGET = {"kind": "money", "amount": "500", "period": "month"}
ALL = {
    "models": ["a", "b"],
    **LIMITS,
    "budget": BUDGET,
    "currency": "NOK",
    "price_factor": "0.85",
    "content": "metadata",
    "content_until": None,
}


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[AdminSite]:
    async with admin_site(tmp_path) as site:
        yield site


def level_of(shown: dict[str, Any]) -> dict[str, Any]:
    return {name: shown[name] for name in ALL}


def without_use(shown: dict[str, Any]) -> dict[str, Any]:
    assert shown.pop("used")["requests"] == 0
    return shown


NOTHING = dict.fromkeys(ALL)


async def test_an_owner_lives_its_life_over_http(site: AdminSite) -> None:
    made = await site.ask("POST", OWNERS, 201, json={"name": "a/b c", **ALL})
    assert level_of(made) == ALL
    for word in (made["owner_id"], "a/b c"):
        assert without_use(await site.ask("GET", f"{OWNERS}/{word}")) == made
    changed = await site.ask("PATCH", f"{OWNERS}/a/b c", json={"budget": None, "archived": True})
    assert (changed["budget"], changed["state"], changed["burst"]) == (None, "archived", 0)
    error = await site.ask("POST", KEYS, 400, json={"name": "n", "owner": made["owner_id"]})
    assert error["error"]["message"] == "The owner 'a/b c' is archived: it gets no keys."
    back = await site.ask("PATCH", f"{OWNERS}/a/b c", json={"archived": False, **NOTHING})
    assert (back["state"], back["archived_at"], level_of(back)) == ("active", None, NOTHING)
    listed = await site.ask("GET", OWNERS)
    assert [owner["name"] for owner in listed] == ["a/b c", "acme", "us"]


async def test_a_member_lives_its_life_over_http(site: AdminSite) -> None:
    ada = {"name": "Ada", "owner": "acme", "email": "ada@acme.no", "role": "manager"}
    made = await site.ask("POST", MEMBERS, 201, json={**ada, **ALL})
    assert {**made, **ada, **ALL, "state": "active", "disabled_at": None} == made
    for word in (made["member_id"], "Ada"):
        assert without_use(await site.ask("GET", f"{MEMBERS}/{word}")) == made
    path = f"{MEMBERS}/{made['member_id']}"
    changed = await site.ask("PATCH", path, json={"name": "Ada L", "disabled": True, **NOTHING})
    assert (changed["name"], changed["state"], level_of(changed)) == ("Ada L", "disabled", NOTHING)
    again = await site.ask("PATCH", path, json={"email": None})
    assert (again["email"], again["disabled_at"]) == (None, changed["disabled_at"])
    assert await site.ask("GET", MEMBERS, params={"owner": "acme"}) == [again]
    assert await site.ask("GET", MEMBERS, params={"owner": "us"}) == []


async def test_a_key_is_given_to_a_member_for_good(site: AdminSite) -> None:
    ids = {}
    for owner in ("acme", "us"):
        body = {"name": "Ada", "owner": owner}
        ids[owner] = (await site.ask("POST", MEMBERS, 201, json=body))["member_id"]
    body = {"name": "hers", "owner": "acme", "member": "Ada"}
    key = await site.ask("POST", KEYS, 201, json=body)
    assert (key["member_id"], key["member"]) == (ids["acme"], "Ada")
    listed = await site.ask("GET", KEYS, params={"member": ids["acme"]})
    assert [one["key_id"] for one in listed] == [key["key_id"]]
    error = await site.ask("GET", KEYS, 400, params={"member": "Ada"})
    assert error["error"]["message"].startswith("2 members are called 'Ada': ")
    path = f"{KEYS}/hers"
    for patch, words in (
        ({"member": None}, "A key is its member's for good"),
        ({"owner": "us"}, "A member's key stays with its owner"),
        ({"owner": "us", "member": ids["us"]}, "A member's key stays with its owner"),
    ):
        error = await site.ask("PATCH", path, 400, json=patch)
        assert error["error"]["message"].startswith(words)
    assert (await site.ask("GET", path))["member_id"] == ids["acme"]
    error = await site.ask("POST", KEYS, 404, json={**body, "member": ids["us"]})
    assert error["error"]["code"] == "NOT_FOUND"
    await site.ask("PATCH", f"{MEMBERS}/{ids['acme']}", json={"disabled": True})
    assert (await site.ask("GET", path))["state"] == "barred"


async def test_the_site_has_one_allowance(site: AdminSite) -> None:
    assert without_use(await site.ask("GET", "/admin/v1/site")) == NOTHING
    assert await site.ask("PATCH", "/admin/v1/site", json=ALL) == ALL
    changed = await site.ask("PATCH", "/admin/v1/site", json={"budget": None})
    shown = without_use(await site.ask("GET", "/admin/v1/site"))
    assert changed == {**ALL, "budget": None} == shown


@pytest.mark.parametrize(
    ("method", "path", "body", "words"),
    [
        ("POST", OWNERS, {"name": "acme"}, "There is an owner 'acme' already."),
        ("POST", OWNERS, {}, "name: Field required."),
        ("POST", OWNERS, {"name": "x" * 201}, "name: String should have at most 200"),
        ("POST", OWNERS, {"name": "o", "size": 2}, "size: Extra inputs are not permitted."),
        ("POST", OWNERS, {"name": "o", "weight": 0}, "weight: Input should be greater than"),
        ("PATCH", OWNERS + "/acme", {"weight": 101}, "weight: Input should be less than"),
        ("PATCH", OWNERS + "/acme", {"weight": 1.5}, "weight: Input should be a valid integer"),
        ("PATCH", OWNERS + "/acme", {"weight": None}, "weight: Input should be a valid integer"),
        ("POST", OWNERS, {"name": "o", "budget": BUDGET}, "a budget of money needs the owner's"),
        ("PATCH", OWNERS + "/acme", {"name": "other"}, "name: Extra inputs are not permitted."),
        ("PATCH", OWNERS + "/acme", {"price_factor": "10.000001"}, "price_factor: "),
        ("PATCH", OWNERS + "/acme", {"price_factor": -1}, "price_factor: "),
        ("PATCH", OWNERS + "/acme", {"price_factor": "0.1234567"}, "price_factor: "),
        ("PATCH", OWNERS + "/acme", {"price_factor": "NaN"}, "price_factor: "),
        ("PATCH", OWNERS + "/acme", {"concurrent": 0}, "concurrent: "),
        ("PATCH", OWNERS + "/acme", {"burst": 3}, "a burst of the owner needs its requests_per_"),
        ("POST", MEMBERS, {"name": "m", "role": "admin", "owner": "acme"}, "An admin is the site"),
        ("POST", MEMBERS, {"name": "m"}, "An admin is the site's, a manager"),
        ("POST", MEMBERS, {"name": "m", "owner": "us", "role": "king"}, "role: Input should be"),
        (
            "POST",
            MEMBERS,
            {"name": "m", "owner": "us", "email": "x"},
            "email: right would be an address, as ada@example.com",
        ),
        ("PATCH", "/admin/v1/site", {"archived": True}, "archived: Extra inputs"),
    ],
)
async def test_what_does_not_fit_is_a_400_that_says_what_was_wrong(
    site: AdminSite, method: str, path: str, body: dict[str, Any], words: str
) -> None:
    error = await site.ask(method, path, 400, json=body)
    assert error["error"]["code"] == "INVALID_PARAMETER"
    assert error["error"]["message"].startswith(words)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", OWNERS + "/nobody", None),
        ("PATCH", OWNERS + "/nobody", {}),
        ("GET", MEMBERS + "/nobody", None),
        ("PATCH", MEMBERS + "/nobody", {}),
        ("GET", MEMBERS + "?owner=nobody", None),
        ("POST", MEMBERS, {"name": "m", "owner": "nobody"}),
        ("POST", KEYS, {"name": "n", "member": "nobody"}),
    ],
)
async def test_what_is_not_there_is_a_404(
    site: AdminSite, method: str, path: str, body: Any
) -> None:
    error = await site.ask(method, path, 404, json=body)
    assert "nobody" in error["error"]["message"]
    assert len(await site.ask("GET", KEYS)) == 2


async def test_a_key_and_usage_are_found_by_names_and_ids(site: AdminSite) -> None:
    [acme] = [one for one in await site.ask("GET", OWNERS) if one["name"] == "acme"]
    made = await site.ask("POST", KEYS, 201, json={"name": "n", "owner": acme["owner_id"]})
    assert made["owner"] == "acme"
    assert (await site.ask("GET", f"{KEYS}/n"))["key_id"] == made["key_id"]
    listed = await site.ask("GET", KEYS, params={"owner": acme["owner_id"]})
    assert {key["name"] for key in listed} == {"app", "n"}
    used = await site.ask("GET", "/admin/v1/usage", params={"owner": acme["owner_id"]})
    assert used["lines"] == []
    await site.ask("GET", "/admin/v1/usage", params={"key_id": "n"})
    new = await site.ask("POST", KEYS, 201, json={"name": "first", "owner": "made by a key"})
    assert (await site.ask("GET", f"{OWNERS}/made by a key"))["state"] == new["state"] == "active"
    forgotten = await site.ask("DELETE", f"{OWNERS}/{acme['owner_id']}/memory")
    assert forgotten["owner"] == "acme"


async def test_an_owners_weight_is_said_and_changed(site: AdminSite) -> None:
    made = await site.ask("POST", OWNERS, 201, json={"name": "heavy", "weight": 7})
    assert made["weight"] == 7
    changed = await site.ask("PATCH", OWNERS + "/heavy", json={"concurrent": 3})
    assert (changed["weight"], changed["concurrent"]) == (7, 3)
    assert (await site.ask("PATCH", OWNERS + "/heavy", json={"weight": 1}))["weight"] == 1


async def test_names_with_a_slash_are_found_written_either_way(site: AdminSite) -> None:
    await site.ask("POST", MEMBERS, 201, json={"name": "a/b", "owner": "acme"})
    for word in ("a/b", "a%2Fb"):
        assert (await site.ask("GET", f"{MEMBERS}/{word}"))["name"] == "a/b"
    for name in ("shop/eu", "shop/eu/rotate", "rotate"):
        made = (await site.ask("POST", KEYS, 201, json={"name": name, "owner": "acme"}))["key_id"]
        quoted = name.replace("/", "%2F")
        for word in (name, quoted):
            assert (await site.ask("GET", f"{KEYS}/{word}"))["key_id"] == made
            patched = await site.ask("PATCH", f"{KEYS}/{word}", json={"concurrent": 3})
            assert (patched["key_id"], patched["concurrent"]) == (made, 3)
            rotated = await site.ask("POST", f"{KEYS}/{word}/rotate")
            assert rotated["key_id"] == made
        gone = await site.ask("DELETE", f"{KEYS}/{quoted}")
        assert (gone["key_id"], gone["revoked_at"] is None) == (made, False)
    await site.ask("GET", f"{KEYS}/shop", 404)
