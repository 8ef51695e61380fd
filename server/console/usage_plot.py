"""What the plot of usage is drawn from: one series of numbers a figure, by day."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Final

from server.console.shown import one_line

FIGURES: Final = (
    ("prompt_tokens", "Prompt tokens"),
    ("completion_tokens", "Answer tokens"),
    ("requests", "Requests"),
)
MOST_DAYS: Final = 800
_DAY_S: Final = 86_400


def plot_of(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """Of a report by day: `days` in Unix seconds, and `figures`, each with a title and a value a
    day. None: nothing was used, or of too many days."""
    first, last = (date.fromisoformat(report[name]) for name in ("first", "last"))
    count = (last - first).days + 1
    if not report["lines"] or count > MOST_DAYS:
        return None
    series: dict[str, list[float]] = {}
    for line in report["lines"]:
        at = (date.fromisoformat(line["day"]) - first).days
        for title, value in _figures(line):
            series.setdefault(title, [0.0] * count)[at] += value
    start = (first - date(1970, 1, 1)).days * _DAY_S
    figures = [{"title": title, "values": values} for title, values in series.items()]
    return {"days": [start + each * _DAY_S for each in range(count)], "figures": figures}


def _figures(line: Mapping[str, Any]) -> list[tuple[str, float]]:
    found = [(title, float(line[name])) for name, title in FIGURES]
    return [*found, (f"Price in {one_line(line['currency'])}", float(Decimal(line["amount"])))]


def sums_of(lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of all lines, a currency each: different ones are never added."""
    sums: dict[str, dict[str, Any]] = {}
    for line in lines:
        of = sums.setdefault(line["currency"], {"currency": line["currency"]})
        for name in ("requests", "prompt_tokens", "cached_tokens", "completion_tokens"):
            of[name] = of.get(name, 0) + line[name]
        of["amount"] = of.get("amount", Decimal(0)) + Decimal(line["amount"])
    return list(sums.values())
