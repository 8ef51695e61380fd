"""What is used of a budget, as a bar."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

PERIODS = {"day": "a day", "month": "a month", "total": "in all"}


class BudgetBar(NamedTuple):
    """Widths in percent of the whole; figures as the admin API has them."""

    amount: str
    unit: str
    period: str
    used: str | None
    """None: the admin API does not say it."""
    reserved: str | None
    left: str | None
    used_percent: float
    reserved_percent: float

    @property
    def tone(self) -> str:
        taken = self.used_percent + self.reserved_percent
        if self.used is None:
            return "unknown"
        return "full" if taken >= 100 else "near" if taken >= 80 else "fine"


def bar_of(level: Mapping[str, Any]) -> BudgetBar | None:
    """Of a key, owner or member as the admin API shows it; None: it has no budget."""
    budget, use = level.get("budget"), level.get("used") or {}
    if budget is None:
        return None
    amount = Decimal(str(budget["amount"]))
    spent, reserved = use.get("spent"), use.get("reserved")
    share = _percent(spent, amount)
    return BudgetBar(
        amount=str(budget["amount"]),
        unit="tokens" if budget["kind"] == "tokens" else level.get("currency") or "",
        period=PERIODS[budget["period"]],
        used=_text(spent),
        reserved=_text(reserved),
        left=_text(use.get("left")),
        used_percent=share,
        reserved_percent=min(_percent(reserved, amount), round(100 - share, 2)),
    )


def _percent(part: object, whole: Decimal) -> float:
    """At most 100; all of nothing is 100."""
    if part is None:
        return 0.0
    if not whole:
        return 100.0
    return float(round(min(max(Decimal(str(part)) / whole * 100, Decimal(0)), Decimal(100)), 2))


def _text(figure: object) -> str | None:
    return None if figure is None else str(figure)
