"""Days and months as the ledger counts them: UTC, days since 1970."""

from datetime import date, timedelta
from functools import lru_cache
from typing import Literal

EPOCH = date(1970, 1, 1)
DAY_S = 86_400


def day_of(time_s: float) -> int:
    return int(time_s // DAY_S)


def date_of(day: int) -> date:
    return EPOCH + timedelta(days=day)


def day_number(day: date) -> int:
    return (day - EPOCH).days


def period_start(period: Literal["day", "month", "total"], time_s: float) -> int:
    """The first day of the period that `time_s` is in; 0 for a total."""
    if period == "total":
        return 0
    return day_of(time_s) if period == "day" else first_of_month(day_of(time_s))


@lru_cache(maxsize=64)
def first_of_month(day: int) -> int:
    """Asked for each request, of the same few days."""
    return day_number(date_of(day).replace(day=1))


def period_end_s(period: Literal["day", "month", "total"], time_s: float) -> float | None:
    """When the next period begins, in Unix seconds; None for a total."""
    if period == "total":
        return None
    start = date_of(period_start(period, time_s))
    following = start + timedelta(days=1)
    if period == "month":
        following = (start + timedelta(days=31)).replace(day=1)
    return float(day_number(following) * DAY_S)
