"""Who may do what of the admin API: one table. A route that is not in it is a site admin's alone.

Whoever may do something may do it to what is theirs (reach.py): a site's admin and auditor to all,
an owner's manager and auditor to that owner, its keys and members, a member to themselves and their
keys. What is others' is not there for them: lists leave it out, a name of it is 404.
"""

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from engines.fleet.commands import COMMANDS
from server.accounts.auth import NotPermitted
from server.accounts.principal import Principal

PREFIX: Final = "/admin/v1"

Standing: TypeAlias = Literal["admin", "site auditor", "manager", "owner auditor", "member"]

Whom: TypeAlias = frozenset[Standing]

ADMIN: Final[Whom] = frozenset({"admin"})
SITE: Final[Whom] = frozenset({"admin", "site auditor"})
CHIEFS: Final[Whom] = frozenset({"admin", "manager"})
KEYED: Final[Whom] = CHIEFS | frozenset[Standing]({"member"})
ABOVE: Final[Whom] = SITE | CHIEFS | frozenset[Standing]({"owner auditor"})
EVERYBODY: Final[Whom] = ABOVE | KEYED

AUTHORITY: Final[Mapping[str, Whom]] = {
    "GET /me": EVERYBODY,
    "GET /keys": EVERYBODY,
    "POST /keys": KEYED,
    "GET /keys/{key_id}": EVERYBODY,
    "PATCH /keys/{key_id}": KEYED,
    "POST /keys/{key_id}/rotate": KEYED,
    "DELETE /keys/{key_id}": KEYED,
    "GET /members": EVERYBODY,
    "POST /members": CHIEFS,
    "GET /members/{member}": EVERYBODY,
    "PATCH /members/{member}": CHIEFS,
    "POST /members/{member}/invite": CHIEFS,
    "GET /members/{member}/sessions": EVERYBODY,
    "DELETE /members/{member}/sessions": KEYED,
    "GET /owners": EVERYBODY,
    "POST /owners": ADMIN,
    "GET /owners/{owner}": EVERYBODY,
    "PATCH /owners/{owner}": ADMIN,
    "DELETE /owners/{owner}/memory": ADMIN,
    "GET /site": SITE,
    "PATCH /site": ADMIN,
    "GET /usage": EVERYBODY,
    "GET /invoices": ABOVE,
    "GET /invoices/preview": ABOVE,
    "POST /invoices": ADMIN,
    "GET /invoices/{number}": ABOVE,
    "GET /invoices/{number}.pdf": ABOVE,
    "GET /requests": EVERYBODY,
    "GET /requests/{request_id}": EVERYBODY,
    "GET /kept-requests": CHIEFS,
    "GET /requests/{request_id}/content": CHIEFS,
    "GET /audit": SITE,
    "GET /audit/verify": SITE,
    "GET /models": EVERYBODY,
    **{f"POST /models/{{alias}}/{command}": ADMIN for command in COMMANDS},
    "GET /nodes": SITE,
    "POST /nodes/probe": ADMIN,
    "POST /nodes/{node}/drain": ADMIN,
    "POST /nodes/{node}/undrain": ADMIN,
    "GET /now": EVERYBODY,
    "GET /now/events": EVERYBODY,
    "GET /registry": EVERYBODY,
    "GET /registry/{alias}": EVERYBODY,
    "POST /registry": ADMIN,
}

TITLES: Final[Mapping[Standing, str]] = {
    "admin": "an admin",
    "site auditor": "an auditor of the site",
    "manager": "an owner's manager",
    "owner auditor": "an owner's auditor",
    "member": "a member",
}


def standing_of(who: Principal) -> Standing:
    """Raises NotPermitted for what no member row says: such a principal may do nothing."""
    match who.role, who.owner is None:
        case "admin", True:
            return "admin"
        case "auditor", is_site:
            return "site auditor" if is_site else "owner auditor"
        case "manager", False:
            return "manager"
        case "member", False if who.member_id is not None:
            return "member"
    raise NotPermitted("This account has a role that does not fit its owner: it may do nothing.")


def operation(method: str, path: str) -> str:
    """As the table has it; `path` is a route's, with the prefix."""
    return f"{method} {path.removeprefix(PREFIX).replace(':path}', '}')}"


def may(who: Principal, asked: str) -> bool:
    return standing_of(who) in AUTHORITY.get(asked, ADMIN)


def check_authority(who: Principal, asked: str) -> None:
    """Raises NotPermitted, which says who may."""
    if not may(who, asked):
        raise NotPermitted(f"You are {TITLES[standing_of(who)]}; this is for {told_of(asked)}.")


def told_of(asked: str) -> str:
    """`an admin or an owner's manager`"""
    titles = [title for each, title in TITLES.items() if each in AUTHORITY.get(asked, ADMIN)]
    *others, last = titles
    return f"{', '.join(others)} or {last}" if others else last
