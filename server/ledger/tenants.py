"""What stands above keys: the site, its owners (customers or projects), their members (persons)."""

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from server.ledger.allowance import Allowance
from server.ledger.records import LevelKind

Role: TypeAlias = Literal["manager", "member", "auditor", "admin"]
SHOWN = 80
"""Of a name in what clients are told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteLevel(Allowance):
    """The organisation: everybody's keys together."""

    kind: ClassVar[LevelKind] = "site"

    @property
    def title(self) -> str:
        return "This site"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerLevel(Allowance):
    """Who is billed. The name is for good: records, invoices and what is kept are found by it."""

    kind: ClassVar[LevelKind] = "owner"
    owner_id: str
    name: str
    weight: int = 1
    """Its share where owners compete, beside the others'."""
    created_at: float = 0.0
    archived_at: float | None = None

    @property
    def counted(self) -> str:
        return self.name

    @property
    def title(self) -> str:
        return f"The owner {shown(self.name)}"

    @property
    def barred(self) -> str | None:
        return None if self.archived_at is None else f"{self.title} of this API key is archived."


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberLevel(Allowance):
    """A person: of one owner, or (role admin) of the site."""

    kind: ClassVar[LevelKind] = "member"
    member_id: str
    owner: str | None
    """Its name; None: of the site."""
    name: str
    email: str | None = None
    role: Role = "member"
    created_at: float = 0.0
    disabled_at: float | None = None

    @property
    def counted(self) -> str:
        return self.member_id

    @property
    def title(self) -> str:
        return f"The member {shown(self.name)}"

    @property
    def barred(self) -> str | None:
        return None if self.disabled_at is None else f"{self.title} of this API key is disabled."


def shown(name: str) -> str:
    return name if len(name) <= SHOWN else f"{name[:SHOWN]}…"
