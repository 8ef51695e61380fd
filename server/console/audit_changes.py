"""What an entry of the audit log changed, field by field."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

MOST_FIELDS: Final = 60
_MOST_CHARACTERS: Final = 300
_MICRO: Final = 1_000_000
_MICRO_NAMES: Final = ("price_factor",)


class FieldChange(NamedTuple):
    """Of one field; "": it was not there, or is not any more."""

    name: str
    before: str
    after: str


def changes_of(entry: Mapping[str, Any]) -> list[FieldChange]:
    """Of an entry as the admin API has it; at most MOST_FIELDS."""
    before, after = _read(entry["before"]), _read(entry["after"])
    names = [*before, *(name for name in after if name not in before)]
    changed = (FieldChange(name, before.get(name, ""), after.get(name, "")) for name in names)
    return [change for change in changed if change.before != change.after][:MOST_FIELDS]


def _read(text: str) -> dict[str, str]:
    """Flat: a budget's amount is budget.amount. What is no JSON, somebody has put there."""
    if not text:
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {"(no JSON)": _short(text)}
    if not isinstance(found, dict):
        return {"(value)": _short(text)}
    return dict(_flat(found))


def _flat(fields: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, str]]:
    for name, value in fields.items():
        if isinstance(value, dict) and not place:
            yield from _flat(value, f"{name}.")
        else:
            yield f"{place}{name}", _short(_words(f"{place}{name}", value, fields))


def _words(name: str, value: Any, beside: Mapping[str, Any]) -> str:
    """As pages have it elsewhere: money is stored in micro-units, times as Unix seconds."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    is_money = name == "budget.amount" and beside.get("kind") == "money"
    if is_number and (is_money or name in _MICRO_NAMES):
        return f"{Decimal(str(value)) / _MICRO:f}"
    if is_number and name.endswith(("_at", "_until")):
        return _moment(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _moment(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return str(seconds)


def _short(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"
