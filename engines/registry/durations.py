"""Lengths of time as a person writes them: seconds, or 90s, 10m, 2h, 1d."""

import re
from typing import Any

LONGEST_S = 366 * 86_400.0
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def seconds_of(value: Any) -> float:
    """1 s to 366 days. Raises ValueError for what is no such length of time."""
    seconds = _seconds(value)
    if not 1.0 <= seconds <= LONGEST_S:
        raise ValueError("it is from 1s to 366d")
    return float(seconds)


def _seconds(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    written = re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?)([smhd])", value) if _is_text(value) else None
    if written is None:
        raise ValueError("it is no length of time")
    return float(written[1]) * _UNITS[written[2]]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.isascii()


def duration_text(seconds: float) -> str:
    """In the largest unit of which it is a whole number: 600 is 10m."""
    for unit, length_s in reversed(_UNITS.items()):
        if seconds >= length_s and seconds % length_s == 0:
            return f"{seconds / length_s:.0f}{unit}"
    return f"{seconds:g}s"
