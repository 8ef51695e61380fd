"""What several levels say together; of each the nearest to the key comes first."""

from collections.abc import Iterable
from typing import Any

from server.ledger.allowance import Allowance
from server.ledger.records import KeyLimits, LimitedLevel

NO_LIMITS = KeyLimits()


def nearest(name: str, levels: Iterable[Allowance]) -> Any:
    """The field of the first level that says one."""
    return next((value for each in levels if (value := getattr(each, name)) is not None), None)


def narrowest(levels: Iterable[Allowance]) -> frozenset[str] | None:
    """The models that all of them allow; None: any."""
    found: frozenset[str] | None = None
    for each in levels:
        if each.models is not None:
            found = each.models if found is None else found & each.models
    return found


def limited(levels: Iterable[Allowance]) -> tuple[LimitedLevel, ...]:
    """Those that have limits."""
    return tuple(
        LimitedLevel(level_id=each.level_id, kind=each.kind, title=each.title, limits=each.limits)
        for each in levels
        if each.limits != NO_LIMITS
    )
