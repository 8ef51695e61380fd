"""What one level of the tenant tree may use: the site, an owner, a member, a key; each alike."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from server.ledger.records import ContentMode, KeyLimits, LevelKind

SITE = "site"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The most a level may use in a period. `amount`: micro-units of its currency, or tokens."""

    kind: Literal["money", "tokens"]
    amount: int
    period: Literal["day", "month", "total"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """None: nothing is said here. Of limits, budgets and models the tightest of all levels counts,
    of currency and price factor the nearest to the key that says one."""

    kind: ClassVar[LevelKind] = "key"
    models: frozenset[str] | None = None
    limits: KeyLimits = field(default_factory=KeyLimits)
    budget: Budget | None = None
    currency: str | None = None
    price_factor: int | None = None
    """What prices are multiplied by, in millionths."""
    content: ContentMode | None = None
    """Of content the nearest to the key counts; `none` anywhere above it forbids."""
    content_until: float | None = None
    """Unix seconds; afterwards nothing is said."""

    @property
    def counted(self) -> str:
        """What its records are found by: an id, or an owner's name."""
        return ""

    @property
    def level_id(self) -> str:
        """Unique over all levels; of a key its id."""
        return level_id(self.kind, self.counted)

    @property
    def title(self) -> str:
        """What clients are told that it is, at the head of a sentence."""
        return "This API key"

    @property
    def barred(self) -> str | None:
        """Why no key below may be used; None: it may."""
        return None


def level_id(kind: LevelKind, counted: str) -> str:
    if kind == "key":
        return counted
    return SITE if kind == "site" else f"{kind}:{counted}"
