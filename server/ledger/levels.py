"""What several levels say together; of each the nearest to the key comes first."""

from collections.abc import Iterable
from math import inf
from typing import Any, TypeAlias

from server.ledger.allowance import Allowance
from server.ledger.records import ContentMode, KeyLimits, LimitedLevel
from server.ledger.tenants import OwnerLevel

NO_LIMITS = KeyLimits()
Kept: TypeAlias = tuple[ContentMode, float]
"""What a level says of content, and until when."""


class Above:
    """The levels above keys of one place in the tree, and what they say together: worked out once
    for all keys of that place."""

    __slots__ = (
        *("barred", "content", "currency", "levels", "limited", "models", "owner_id"),
        "price_factor",
        "weight",
    )

    def __init__(self, levels: tuple[Allowance, ...] = ()) -> None:
        self.levels = levels
        self.limited = limited(levels)
        self.models = narrowest(levels)
        self.currency: str | None = nearest("currency", levels)
        self.price_factor: int | None = nearest("price_factor", levels)
        self.content = said_of_content(levels)
        self.barred: str | None = nearest("barred", levels)
        """Why no key below may be used; None: it may."""
        owner = next((each for each in levels if isinstance(each, OwnerLevel)), None)
        self.owner_id = "" if owner is None else owner.owner_id
        self.weight = 1.0 if owner is None else float(owner.weight)
        """Of its owner, where owners compete."""


def nearest(name: str, levels: Iterable[Allowance]) -> Any:
    """The field of the first level that says one."""
    return next((value for each in levels if (value := getattr(each, name)) is not None), None)


def narrowest(levels: Iterable[Allowance]) -> frozenset[str] | None:
    """The models that all of them allow; None: any."""
    found: frozenset[str] | None = None
    for each in levels:
        found = both(found, each.models)
    return found


def both(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    if one is None or other is None:
        return one if other is None else other
    return one & other


def limited(levels: Iterable[Allowance]) -> tuple[LimitedLevel, ...]:
    """Those that have limits."""
    return tuple(
        LimitedLevel(level_id=each.level_id, kind=each.kind, title=each.title, limits=each.limits)
        for each in levels
        if each.limits != NO_LIMITS
    )


def said_of_content(levels: Iterable[Allowance]) -> tuple[Kept, ...]:
    """What each says that says something."""
    return tuple(
        (each.content, inf if each.content_until is None else each.content_until)
        for each in levels
        if each.content is not None
    )


def with_own_content(own: Allowance, above: tuple[Kept, ...]) -> tuple[Kept, ...]:
    """Of a key, with what is above it; (): nothing is kept, ever."""
    said = (*said_of_content((own,)), *above)
    return () if ("none", inf) in said else said


def kept_at(said: Iterable[Kept], now: float) -> ContentMode | None:
    """What the nearest says whose time is not over; None where one forbids it, or none says it."""
    found = [mode for mode, until in said if until > now]
    return None if not found or "none" in found else found[0]
