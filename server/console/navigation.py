"""Which pages there are, and for whom."""

from typing import Final, NamedTuple

from server.accounts.principal import Principal
from server.ledger.tenants import Role

EVERYBODY: Final[frozenset[Role]] = frozenset({"admin", "manager", "member", "auditor"})


class NavigationEntry(NamedTuple):
    path: str
    title: str
    roles: frozenset[Role] = EVERYBODY
    is_of_the_site: bool = False
    """Whether an owner's people have none of it."""


ENTRIES: Final = (
    NavigationEntry("/console", "Now"),
    NavigationEntry("/console/models", "Models"),
    NavigationEntry("/console/chat", "Chat", EVERYBODY - {"auditor"}),
    NavigationEntry("/console/keys", "Keys"),
    NavigationEntry("/console/owners", "Owners", EVERYBODY - {"member"}),
    NavigationEntry("/console/members", "Members", EVERYBODY - {"member"}),
    NavigationEntry("/console/usage", "Usage"),
    NavigationEntry("/console/requests", "Requests"),
    NavigationEntry("/console/audit", "Audit", frozenset({"admin", "auditor"}), True),
)


def shown_to(who: Principal) -> list[NavigationEntry]:
    return [entry for entry in ENTRIES if _is_for(entry, who)]


def _is_for(entry: NavigationEntry, who: Principal) -> bool:
    return who.role in entry.roles and (who.owner is None or not entry.is_of_the_site)
