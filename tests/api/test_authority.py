"""Who may do what of the admin API: every route, in every role, on what is theirs and others'."""

from pathlib import Path
from typing import Any, Final

import pytest

from engines.fleet.commands import COMMANDS
from server.accounts.auth import NotPermitted
from server.accounts.principal import Principal
from server.api.admin.authority import AUTHORITY, standing_of
from server.api.admin.now import watching
from tests.support.admin_site import AdminSite, admin_site
from tests.support.people import PEOPLE, People, asked

pytestmark = pytest.mark.anyio

ASKERS: Final = ("root", "sid", "boss", "aud", "mel")
ON: Final = ("mel", "pal", "gus")
"""On mel's: of pal the same owner's, of gus another's."""
YES, NO, GONE = 2, 403, 404
"""YES: 200 or 201."""
ALL, NONE = (YES, YES, YES), (NO, NO, NO)
OWNERS, OWN = (YES, YES, GONE), (YES, GONE, GONE)

READ: Final = (ALL, ALL, OWNERS, OWNERS, OWN)
OWNER_READ: Final = (ALL, ALL, OWNERS, OWNERS, OWNERS)
KEY_CHANGE: Final = (ALL, NONE, OWNERS, NONE, OWN)
MEMBER_CHANGE: Final = (ALL, NONE, OWNERS, NONE, NONE)
ADMIN: Final = (ALL, NONE, NONE, NONE, NONE)
NO_MODEL: Final = ((GONE, GONE, GONE), NONE, NONE, NONE, NONE)
"""A command to a model or a node that is not there."""
NO_REGISTERED: Final = ((GONE, GONE, GONE),) * 5
WRONG: Final = (400, 400, 400)
"""Let in: a month is missing."""
NO_INVOICE: Final = (*(((GONE, GONE, GONE),) * 4), NONE)
"""Of a number that there is not; tests/api/test_invoice_admin.py has those that there are."""
SITE: Final = (ALL, ALL, NONE, NONE, NONE)
LIST: Final = (ALL, ALL, ALL, ALL, ALL)

EXPECTED: Final[dict[str, tuple[tuple[int, ...], ...]]] = {
    "GET /me": LIST,
    "GET /keys": LIST,
    "POST /keys": KEY_CHANGE,
    "GET /keys/{key_id}": READ,
    "PATCH /keys/{key_id}": KEY_CHANGE,
    "POST /keys/{key_id}/rotate": KEY_CHANGE,
    "DELETE /keys/{key_id}": KEY_CHANGE,
    "GET /members": LIST,
    "POST /members": MEMBER_CHANGE,
    "GET /members/{member}": READ,
    "PATCH /members/{member}": MEMBER_CHANGE,
    "POST /members/{member}/invite": MEMBER_CHANGE,
    "GET /members/{member}/sessions": READ,
    "DELETE /members/{member}/sessions": KEY_CHANGE,
    "GET /owners": LIST,
    "POST /owners": ADMIN,
    "GET /owners/{owner}": OWNER_READ,
    "PATCH /owners/{owner}": ADMIN,
    "DELETE /owners/{owner}/memory": ADMIN,
    "GET /site": SITE,
    "PATCH /site": ADMIN,
    "GET /usage": LIST,
    "GET /invoices": (ALL, ALL, ALL, ALL, NONE),
    "GET /invoices/preview": (WRONG, WRONG, WRONG, WRONG, NONE),
    "POST /invoices": (WRONG, NONE, NONE, NONE, NONE),
    "GET /invoices/{number}": NO_INVOICE,
    "GET /invoices/{number}.pdf": NO_INVOICE,
    "GET /requests": LIST,
    "GET /requests/{request_id}": READ,
    "GET /kept-requests": (ALL, NONE, ALL, NONE, NONE),
    "GET /requests/{request_id}/content": (
        *((GONE, GONE, GONE), NONE, (GONE, GONE, GONE), NONE, NONE),
    ),
    "GET /audit": SITE,
    "GET /audit/verify": SITE,
    "GET /models": LIST,
    **{f"POST /models/{{alias}}/{command}": NO_MODEL for command in COMMANDS},
    "GET /nodes": SITE,
    "POST /nodes/probe": NO_MODEL,
    "POST /nodes/{node}/drain": NO_MODEL,
    "POST /nodes/{node}/undrain": NO_MODEL,
    "GET /now": LIST,
    "GET /now/events": LIST,
    "GET /registry": LIST,
    "GET /registry/{alias}": NO_REGISTERED,
    "POST /registry": ADMIN,
}
BODIES: Final[dict[str, dict[str, Any]]] = {
    "POST /keys": {"name": "new", "owner": "{owner}", "member": "{member}"},
    "POST /members": {"name": "new of {asker} {member}", "owner": "{owner}"},
    "POST /owners": {"name": "new of {asker} {member}"},
}


@pytest.fixture(autouse=True)
def short_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who watches is let in, or not; what comes is looked at elsewhere."""
    monkeypatch.setattr(watching, "LONGEST_S", 0.0)


async def called(site: AdminSite, people: People, route: str, asker: str, on: str) -> int:
    """The status of a route, on what is somebody's."""
    places = {
        "asker": asker,
        "key_id": people.keys[on],
        "member": people.ids[on],
        "owner": PEOPLE[on][1],
        "request_id": f"asked-by-{on}",
        "alias": "none",
        "node": "none",
        "number": "2020-0001",
    }
    method, path = route.format(**places).split(" ")
    body = {name: text.format(**places) for name, text in BODIES.get(route, {}).items()}
    answer = await site.client.request(
        method, f"/admin/v1{path}", json=body, headers=people.headers(asker)
    )
    return answer.status_code


@pytest.mark.parametrize("asker", ASKERS)
async def test_every_route_in_every_role(tmp_path: Path, asker: str) -> None:
    people = People()
    async with admin_site(tmp_path, prepare=people.make) as site:
        await asked(site, people)
        found = {
            route: tuple([await called(site, people, route, asker, on) for on in ON])
            for route in EXPECTED
        }
    plain = {r: tuple(YES if s in (200, 201) else s for s in all_) for r, all_ in found.items()}
    assert plain == {route: by[ASKERS.index(asker)] for route, by in EXPECTED.items()}


async def test_a_route_that_was_forgotten_is_told_and_is_an_admins_alone(tmp_path: Path) -> None:
    async with admin_site(tmp_path) as site:
        described = (await site.ask("GET", "/openapi.json"))["paths"]
    routes = {
        f"{verb.upper()} {path.removeprefix('/admin/v1')}": operation["description"]
        for path, verbs in described.items()
        if path.startswith("/admin/v1")
        for verb, operation in verbs.items()
    }
    assert set(routes) == set(AUTHORITY) == set(EXPECTED)
    assert routes["PATCH /site"] == "For an admin."
    assert routes["POST /members"].endswith("For an admin or an owner's manager.")


@pytest.mark.parametrize(
    "who",
    [
        Principal(kind="member", name="m", role="manager"),
        Principal(kind="member", name="m", role="member"),
        Principal(kind="member", name="m", role="admin", owner="acme"),
        Principal(kind="key", name="k", role="member", owner="acme"),
    ],
)
def test_a_role_that_does_not_fit_its_owner_may_do_nothing(who: Principal) -> None:
    with pytest.raises(NotPermitted):
        standing_of(who)
