"""What a manager and a member may say of keys and members, and what is an admin's to say."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from server.api.admin.bounds import MOST_KEYS
from tests.support.admin_site import AdminSite, admin_site
from tests.support.people import People
from tests.support.sites import new_site, postgres_server

pytestmark = pytest.mark.anyio

KEYS, MEMBERS = "/admin/v1/keys", "/admin/v1/members"
MONEY = {"kind": "money", "amount": "5", "period": "day"}
NEW = {"name": "new"}


class PeopledSite:
    """A site, asked by its people."""

    def __init__(self, site: AdminSite, people: People) -> None:
        self.site, self.people = site, people

    async def ask(
        self, who: str, method: str, path: str, status: int = 200, body: Any = None, **params: str
    ) -> Any:
        headers = self.people.headers(who)
        return await self.site.ask(method, path, status, json=body, params=params, headers=headers)

    async def refused(self, who: str, method: str, path: str, status: int, body: Any) -> str:
        return str((await self.ask(who, method, path, status, body))["error"]["message"])


@pytest.fixture(scope="module")
def postgres() -> Iterator[Any]:
    with postgres_server() as running:
        yield running


on_both = pytest.mark.parametrize("site", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
async def site(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[PeopledSite]:
    people, url = People(), None
    if getattr(request, "param", "sqlite") == "postgresql":
        url = new_site(request.getfixturevalue("postgres"))
    async with admin_site(tmp_path, prepare=people.make, ledger_url=url) as site:
        yield PeopledSite(site, people)


@on_both
async def test_a_members_key_is_theirs_and_a_managers_the_owners(site: PeopledSite) -> None:
    mine = await site.ask("mel", "POST", KEYS, 201, NEW | {"requests_per_minute": 3})
    assert (mine["owner"], mine["member"], mine["service"]) == ("acme", "mel", "llm")
    nobodys = await site.ask("boss", "POST", KEYS, 201, NEW)
    assert (nobodys["owner"], nobodys["member"]) == ("acme", None)
    pals = await site.ask("boss", "POST", KEYS, 201, NEW | {"member": "pal", "owner": "acme"})
    assert pals["member_id"] == site.people.ids["pal"]
    changed = await site.ask(
        "mel",
        "PATCH",
        f"{KEYS}/{mine['key_id']}",
        body={"name": "mine", "concurrent": 2, "budget": MONEY, "currency": "NOK"},
    )
    assert (changed["name"], changed["concurrent"], changed["budget"]) == ("mine", 2, MONEY)
    await site.ask("mel", "POST", f"{KEYS}/{mine['key_id']}/rotate")
    revoked = await site.ask("mel", "DELETE", f"{KEYS}/{mine['key_id']}")
    assert revoked["state"] == "revoked"
    entries = (await site.ask("root", "GET", "/admin/v1/audit", limit="1"))["entries"]
    script = site.people.scripts["mel"].split("_")[2]
    assert (entries[0]["action"], entries[0]["actor"]) == ("key.revoke", script)


@pytest.mark.parametrize("who", ["mel", "boss"])
@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"price_factor": "0.5"}, 403, "A price_factor is a site admin's"),
        ({"currency": "EUR"}, 403, "in another currency than NOK"),
        ({"owner": "globex"}, 404, "No owner has the name or id 'globex'."),
        ({"owner": "nobody"}, 404, "No owner has the name or id 'nobody'."),
        ({"member": "gus"}, 404, "No member of acme has the name or id 'gus'."),
        ({"member": "root"}, 404, "No member of acme has the name or id 'root'."),
    ],
)
async def test_what_a_key_may_not_be_given(
    site: PeopledSite, who: str, body: dict[str, Any], status: int, words: str
) -> None:
    assert words in await site.refused(who, "POST", KEYS, status, NEW | body)
    key = await site.ask(who, "POST", KEYS, 201, NEW)
    path = f"{KEYS}/{key['key_id']}"
    assert words in await site.refused(who, "PATCH", path, status, body)
    shown = await site.ask(who, "GET", path)
    assert shown.pop("used")["requests"] == 0
    assert shown == {name: value for name, value in key.items() if name != "key"}


@pytest.mark.parametrize("who", ["mel", "boss"])
async def test_what_an_admin_gave_is_not_taken_away(site: PeopledSite, who: str) -> None:
    path = f"{KEYS}/{site.people.keys['mel']}"
    given = {"price_factor": "1.5", "currency": "EUR"}
    await site.ask("root", "PATCH", path, body=given)
    for name in given:
        await site.refused(who, "PATCH", path, 403, {name: None})
    shown = await site.ask(who, "PATCH", path, body={"name": "mine"} | given)
    assert {name: shown[name] for name in given} == given


async def test_a_member_may_give_a_key_to_nobody_else(site: PeopledSite) -> None:
    await site.refused("mel", "POST", KEYS, 404, NEW | {"member": "pal"})
    path = f"{KEYS}/{site.people.keys['mel']}"
    await site.refused("mel", "PATCH", path, 404, {"member": "pal"})
    await site.refused("mel", "PATCH", path, 400, {"member": None})


async def test_keys_for_the_admin_api_are_an_admins_and_their_members(site: PeopledSite) -> None:
    whole = await site.ask("root", "POST", KEYS, 201, NEW | {"owner": "acme", "admin": True})
    path = f"{KEYS}/{whole['key_id']}"
    mels = f"{KEYS}/{site.people.scripts['mel'].split('_')[2]}"
    for who in ("boss", "mel"):
        words = "A key for the admin API is made by a site's admin."
        assert await site.refused(who, "POST", KEYS, 403, NEW | {"admin": True}) == words
        await site.refused(who, "PATCH", mels, 403, {"expires_at": None})
    for method, place in (("POST", path + "/rotate"), ("DELETE", path), ("PATCH", path)):
        await site.refused("boss", method, place, 403, {})
        await site.refused("mel", method, place, 404, {})
    await site.refused("boss", "POST", mels + "/rotate", 403, {})
    rotated = await site.ask("mel", "POST", mels + "/rotate", grace_s="60")
    assert rotated["service"] == "admin"
    assert (await site.ask("mel", "DELETE", mels))["state"] == "revoked"


@on_both
async def test_a_member_has_so_many_keys_and_no_more(site: PeopledSite) -> None:
    for _ in range(MOST_KEYS - 2):
        last = await site.ask("mel", "POST", KEYS, 201, NEW)
    words = await site.refused("mel", "POST", KEYS, 400, NEW)
    assert words == f"You have {MOST_KEYS} keys: revoke one first."
    await site.ask("mel", "DELETE", f"{KEYS}/{last['key_id']}")
    headers, client = site.people.headers("mel"), site.site.client
    at_once = [client.post(KEYS, json=NEW, headers=headers) for _ in range(4)]
    statuses = sorted(answer.status_code for answer in await asyncio.gather(*at_once))
    assert statuses == [201, 400, 400, 400]


@on_both
async def test_what_a_manager_may_say_of_members(site: PeopledSite) -> None:
    made = await site.ask("boss", "POST", MEMBERS, 201, {"name": "Ada", "role": "manager"})
    assert (made["owner"], made["role"]) == ("acme", "manager")
    path = f"{MEMBERS}/mel"
    limits = {"requests_per_minute": 5, "models": ["a"], "budget": MONEY, "currency": "NOK"}
    changed = await site.ask("boss", "PATCH", path, body=limits | {"role": "auditor"})
    assert (changed["role"], changed["budget"]) == ("auditor", MONEY)
    for status, body in (
        (403, {"role": "admin"}),
        (403, {"price_factor": "0.5"}),
        (403, {"currency": "EUR", "budget": None}),
    ):
        await site.refused("boss", "PATCH", path, status, body)
        await site.refused("boss", "POST", MEMBERS, status, NEW | body)
    for owner in ("globex", "nobody"):
        words = await site.refused("boss", "POST", MEMBERS, 404, NEW | {"owner": owner})
        assert words == f"No owner has the name or id '{owner}'."


async def test_a_role_and_a_disabled_member_count_at_once(site: PeopledSite) -> None:
    client, headers = site.site.client, site.people.headers("boss")
    path = f"{MEMBERS}/{site.people.ids['boss']}"

    async def becomes(method: str, path: str, wanted: int) -> None:
        async with asyncio.timeout(15):
            while await status(method, path) != wanted:
                pass

    async def status(method: str, path: str) -> int:
        return (await client.request(method, path, headers=headers)).status_code

    await becomes("GET", f"{MEMBERS}/mel", 200)
    await site.ask("root", "PATCH", path, body={"role": "member"})
    await becomes("GET", f"{MEMBERS}/mel", 404)
    await site.ask("root", "PATCH", path, body={"disabled": True})
    await becomes("GET", f"{MEMBERS}/mel", 401)


async def test_an_owners_people_see_the_models_and_nothing_of_others(site: PeopledSite) -> None:
    [whole] = (await site.ask("sid", "GET", "/admin/v1/models"))["models"]
    [shown] = (await site.ask("boss", "GET", "/admin/v1/models"))["models"]
    assert whole["requests"] == 0
    untold = {name for name, value in whole.items() if shown[name] != value} - {"for_s"}
    assert untold == {"requests", "waiting", "loads", "restarts", "position"}
    assert {shown[name] for name in untold} == {None}
