"""Who asks the admin API, in which role, and of whom it may speak."""

from dataclasses import dataclass
from typing import Final

from server.ledger.actors import ActorKind
from server.ledger.tenants import Role

PRINCIPAL: Final = "fjord.principal"
"""The scope's key of it. No client can set it: a connection's scope has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """An admin key, the server's operator, or a person who has signed in."""

    kind: ActorKind
    """key, operator or member."""
    name: str
    """The id of a key or of a member; `operator`."""
    role: Role = "admin"
    owner: str | None = None
    """The name of the one owner that it may speak of; None: of the whole site."""
    title: str = ""
    """What people call it; "": as `name`."""

    @property
    def member_id(self) -> str | None:
        return self.name if self.kind == "member" else None
