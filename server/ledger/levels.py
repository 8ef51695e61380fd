"""What several levels say together; of each the nearest to the key comes first."""

from collections.abc import Iterable
from math import inf
from typing import Any, TypeAlias

from server.ledger.allowance import Allowance
from server.ledger.records import ContentMode, KeyLimits, LimitedLevel
from server.ledger.tenants import OwnerLevel

NO_LIMITS = KeyLimits()
Kept: TypeAlias = tuple[ContentMode, float]
"""What is kept of requests, and until when."""


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
        self.content = kept_content(levels)
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


def kept_content(levels: Iterable[Allowance]) -> Kept | None:
    """What the nearest says; ("none", …) where one of them forbids it."""
    said: list[Kept] = [
        (each.content, inf if each.content_until is None else each.content_until)
        for each in levels
        if each.content is not None
    ]
    forbidden = next((kept for kept in said if kept[0] == "none"), None)
    return forbidden or next(iter(said), None)


def with_own_content(own: Allowance, above: Kept | None) -> Kept | None:
    """Of a key, with what is above it; None: nothing is kept."""
    found = kept_content((own,)) or above
    if above is not None and above[0] == "none":
        found = above
    return None if found is None or found[0] == "none" else found
