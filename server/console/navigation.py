"""Which pages there are, and for whom."""

from typing import Final, NamedTuple

from server.ledger.tenants import Role

EVERYBODY: Final[frozenset[Role]] = frozenset({"admin", "manager", "member", "auditor"})


class NavigationEntry(NamedTuple):
    path: str
    title: str
    roles: frozenset[Role] = EVERYBODY


ENTRIES: Final = (
    NavigationEntry("/console", "Now"),
    NavigationEntry("/console/models", "Models"),
    NavigationEntry("/console/chat", "Chat", EVERYBODY - {"auditor"}),
    NavigationEntry("/console/keys", "Keys"),
    NavigationEntry("/console/owners", "Owners", EVERYBODY - {"member"}),
    NavigationEntry("/console/members", "Members", EVERYBODY - {"member"}),
    NavigationEntry("/console/usage", "Usage"),
    NavigationEntry("/console/requests", "Requests"),
    NavigationEntry("/console/audit", "Audit", frozenset({"admin", "auditor"})),
)


def shown_to(role: Role) -> list[NavigationEntry]:
    return [entry for entry in ENTRIES if role in entry.roles]
