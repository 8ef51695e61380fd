"""How pages show numbers, times and amounts: filters and functions of the templates."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from urllib.parse import quote

from markupsafe import Markup, escape

THIN: Final = "\N{NARROW NO-BREAK SPACE}"


def number(value: object) -> str:
    """With thin spaces between thousands; "" of None. Decimals stay exact."""
    if value is None or value == "":
        return ""
    try:
        exact = Decimal(str(value))
    except InvalidOperation:
        return str(value)
    return f"{exact:,f}".replace(",", THIN) if exact.is_finite() else str(value)


def moment(value: object) -> str:
    """A time (ISO 8601, or Unix seconds) to the second in UTC."""
    if value is None or value == "":
        return ""
    try:
        at = _time(value)
    except (ValueError, OverflowError, OSError):
        return str(value)
    exact = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return Markup('<time datetime="{}">{}</time>').format(exact, at.strftime("%Y-%m-%d %H:%M:%S"))


def _time(value: object) -> datetime:
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC)
    return datetime.fromisoformat(str(value)).astimezone(UTC)


def milliseconds(value: float | None) -> str:
    """As people say it: 12 ms, 3.4 s."""
    if value is None:
        return ""
    if value < 1:
        return f"{value:.2f} ms"
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:,.2f} s".replace(",", THIN)


def name(value: object) -> str:
    """A name that somebody chose: it changes the direction of nothing around it, and is never
    nothing to click on."""
    text = str(value)
    shown = text if text.strip() else "(blank)"
    return Markup('<bdi class="name">{}</bdi>').format(escape(shown))


def place(value: object) -> str:
    """A part of an address."""
    return quote(str(value), safe="")


def one_line(value: object) -> str:
    return " ".join(str(value).split())


FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    "number": number,
    "moment": moment,
    "milliseconds": milliseconds,
    "name": name,
    "place": place,
    "one_line": one_line,
}
