"""Days and months as the ledger counts them: UTC, days since 1970."""

from datetime import UTC, date, datetime, timedelta
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
    if period == "day":
        return day_of(time_s)
    return day_number(datetime.fromtimestamp(time_s, UTC).date().replace(day=1))


def period_end_s(period: Literal["day", "month", "total"], time_s: float) -> float | None:
    """When the next period begins, in Unix seconds; None for a total."""
    if period == "total":
        return None
    start = date_of(period_start(period, time_s))
    following = start + timedelta(days=1)
    if period == "month":
        following = (start + timedelta(days=31)).replace(day=1)
    return float(day_number(following) * DAY_S)
