"""Who asks the admin API, in which role, and of whom it may speak."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from server.accounts.auth import AuthFailed
from server.ledger.actors import ActorKind
from server.ledger.keys import Key
from server.ledger.tenants import MemberLevel, Role

PRINCIPAL: Final = "fjord.principal"
"""The scope's key of it. No client can set it: a connection's scope has none."""
STILL_THERE: Final = "fjord.still_there"
"""The scope's key of a function that says whether that is still so: what streams asks it."""
StillThere: TypeAlias = Callable[[], Awaitable[bool]]


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
    acts_for: str | None = None
    """The id of the member whose key it is."""

    @property
    def member_id(self) -> str | None:
        return self.name if self.kind == "member" else self.acts_for


def principal_of(key: Key) -> Principal:
    """An admin key is the whole site's; one that is a member's may what he may. Raises AuthFailed
    where nobody knows him."""
    if key.member_id is None:
        return Principal(kind="key", name=key.key_id, title=key.name)
    levels = (level for level in key.above.levels if isinstance(level, MemberLevel))
    if (member := next(levels, None)) is None:
        raise AuthFailed("The member of this API key is not known.")
    return Principal(
        kind="key",
        name=key.key_id,
        title=key.name,
        role=member.role,
        owner=member.owner,
        acts_for=member.member_id,
    )
