"""Owners and members in the console: made, changed, taken out and brought back."""

from pathlib import Path

import pytest

from server.accounts.principal import Principal
from tests.support.admin_site import AdminSite, admin_site
from tests.support.given_session import GivenSessions
from tests.support.html_forms import SeenPage, Visitor

pytestmark = pytest.mark.anyio

OWNERS, MEMBERS = "/console/owners", "/console/members"
NEW_OWNER, NEW_MEMBER = f"{OWNERS}/new", f"{MEMBERS}/new"
AUDITOR = Principal(kind="member", name="m_auditor", role="auditor", title="Alan")


async def test_an_owner_lives_its_life_in_the_console(site: AdminSite, visitor: Visitor) -> None:
    typed = {"name": "university", "weight": "3", "budget__amount": "900", "currency": "NOK"}
    made = await visitor.send(await visitor.open(NEW_OWNER), NEW_OWNER, **typed)
    page = await visitor.open(made.headers["location"])
    assert "The owner is made." in page.text
    assert "900 NOK a month" in page.text
    here = made.headers["location"].partition("?")[0]
    edit = await visitor.open(f"{here}/edit")
    await visitor.send(edit, f"{here}/edit", weight="5", price_factor="0.5")
    [owner] = await site.ask("GET", "/admin/v1/owners", params={"q": "university"})
    assert (owner["weight"], owner["price_factor"]) == (5, "0.5")
    assert owner["budget"] == {"kind": "money", "amount": "900", "period": "month"}
    archive = await visitor.open(f"{here}/archive")
    done = await visitor.send(archive, f"{here}/archive")
    page = await visitor.open(done.headers["location"])
    assert "archived since" in page.text
    await visitor.send(page, f"{here}/restore")
    assert "archived since" not in (await visitor.open(here)).text


@pytest.mark.parametrize(
    ("typed", "field", "said"),
    [
        ({"weight": "101"}, "weight", "less than or equal to 100"),
        ({"weight": "heavy"}, "weight", "valid integer"),
        ({"name": ""}, "name", "at least 1 character"),
        ({"burst": "x"}, "burst", "valid integer"),
    ],
)
async def test_what_is_refused_of_an_owner_is_said_beside_its_field(
    visitor: Visitor, typed: dict[str, str], field: str, said: str
) -> None:
    whole = {"name": "university", "weight": "2", **typed}
    refused = await visitor.send(await visitor.open(NEW_OWNER), NEW_OWNER, **whole)
    page = SeenPage(refused)
    assert (refused.status_code, page.fields[field].is_wrong) == (400, True)
    assert said in page.said_of(field)
    assert {**page.forms[NEW_OWNER].values, **whole} == page.forms[NEW_OWNER].values


async def test_a_name_that_is_taken_is_said_and_what_was_typed_stays(visitor: Visitor) -> None:
    typed = {"name": "acme", "weight": "9"}
    refused = await visitor.send(await visitor.open(NEW_OWNER), NEW_OWNER, **typed)
    assert refused.status_code == 400
    page = SeenPage(refused)
    assert "There is an owner 'acme' already." in page.text
    assert page.forms[NEW_OWNER].values["weight"] == "9"


async def test_an_owner_with_anothers_id_for_its_name_is_not_mistaken_for_it(
    site: AdminSite, visitor: Visitor
) -> None:
    [acme] = await site.ask("GET", "/admin/v1/owners", params={"q": "acme"})
    twin = await site.ask("POST", "/admin/v1/owners", 201, json={"name": acme["owner_id"]})
    for owner, weight in ((acme, "7"), (twin, "8")):
        path = f"{OWNERS}/{owner['owner_id']}/edit"
        await visitor.send(await visitor.open(path), path, weight=weight)
    found = await site.ask("GET", "/admin/v1/owners")
    weights = {owner["owner_id"]: owner["weight"] for owner in found}
    assert (weights[acme["owner_id"]], weights[twin["owner_id"]]) == (7, 8)


async def test_a_member_lives_its_life_in_the_console(site: AdminSite, visitor: Visitor) -> None:
    typed = {"name": "Ada", "owner": "acme", "email": "ada@acme.example", "role": "manager"}
    made = await visitor.send(await visitor.open(NEW_MEMBER), NEW_MEMBER, **typed)
    here = made.headers["location"].partition("?")[0]
    [member] = await site.ask("GET", "/admin/v1/members")
    assert {**member, **typed} == member
    edit = await visitor.open(f"{here}/edit")
    more = {"email": "", "role": "auditor", "concurrent": "2"}
    assert (await visitor.send(edit, f"{here}/edit", **more)).status_code == 303
    [member] = await site.ask("GET", "/admin/v1/members")
    assert (member["email"], member["role"], member["concurrent"]) == (None, "auditor", 2)
    disable = await visitor.open(f"{here}/disable")
    done = await visitor.send(disable, f"{here}/disable")
    page = await visitor.open(done.headers["location"])
    assert "disabled since" in page.text
    assert (await site.ask("GET", "/admin/v1/members"))[0]["state"] == "disabled"
    await visitor.send(page, f"{here}/enable")
    assert (await site.ask("GET", "/admin/v1/members"))[0]["state"] == "active"


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"email": "nobody"}, "right would be an address"),
        ({"owner": "nowhere"}, "No owner has the name or id 'nowhere'."),
        ({"owner": "", "role": "member"}, "An admin is the site's"),
        ({"role": "admin"}, "An admin is the site's"),
    ],
)
async def test_what_is_refused_of_a_member_loses_nothing(
    visitor: Visitor, typed: dict[str, str], said: str
) -> None:
    whole = {"name": "Ada", "owner": "acme", "email": "a@b.example", "role": "manager", **typed}
    refused = await visitor.send(await visitor.open(NEW_MEMBER), NEW_MEMBER, **whole)
    page = SeenPage(refused)
    assert refused.status_code in (400, 404)
    assert said in page.text
    assert {**page.forms[NEW_MEMBER].values, **whole} == page.forms[NEW_MEMBER].values
    mended = {"email": "", "owner": "acme", "role": "member"}
    assert (await visitor.send(page, NEW_MEMBER, **mended)).status_code == 303


async def test_a_form_that_is_sent_twice_makes_one(site: AdminSite, visitor: Visitor) -> None:
    form = await visitor.open(NEW_MEMBER)
    for _ in range(2):
        answer = await visitor.send(form, NEW_MEMBER, name="Ada", owner="acme")
    assert answer.headers["location"] == f"{MEMBERS}?done=sent-before"
    assert len(await site.ask("GET", "/admin/v1/members")) == 1


async def test_an_auditor_sees_all_and_no_button(tmp_path: Path) -> None:
    async with admin_site(tmp_path, GivenSessions(AUDITOR)) as site:
        body = {"name": "Ada", "owner": "acme"}
        member = await site.ask("POST", "/admin/v1/members", 201, json=body)
        [owner] = await site.ask("GET", "/admin/v1/owners", params={"q": "acme"})
        paths = (f"{OWNERS}/{owner['owner_id']}", f"{MEMBERS}/{member['member_id']}")
        for path in (OWNERS, MEMBERS, *paths):
            page = SeenPage(await site.client.get(path))
            assert {
                form.method for form in page.forms.values() if "sign-out" not in form.action
            } <= {"get"}
            assert not [link for link in page.links if link.endswith(("/new", "/edit", "/archive"))]
