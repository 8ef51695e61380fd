"""Figures as pages say them; static/figures.js has the same for what changes on a page."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from markupsafe import Markup, escape

GONE: Final = "–"


def gigabytes(size: float | None) -> str:
    return GONE if size is None else f"{size / 1e9:.1f} GB"


def latency(time_ms: float | None) -> str:
    if time_ms is None:
        return GONE
    return f"{time_ms:.0f} ms" if time_ms < 10_000 else f"{time_ms / 1000:.1f} s"


def rate(value: float | None) -> str:
    if value is None:
        return GONE
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def percent(part: float | None) -> str:
    return GONE if part is None else f"{part * 100:.0f} %"


def tokens(count: int) -> str:
    """As the registry writes it: 32K is 32768."""
    return f"{count // 1024}K" if count and count % 1024 == 0 else f"{count}"


def state(model: Mapping[str, Any]) -> str:
    """Of one of the models of /admin/v1/now: fetching 41 %, about 75 s."""
    parts = [str(model["state"]).replace("_", " ")]
    if model["percent"] is not None:
        parts[0] += f" {model['percent']} %"
    if model["replicas"] > 1:
        parts[0] = f"{model['ready_replicas']} of {model['replicas']} {parts[0]}"
    if model["eta_s"] and model["state"] not in ("ready", "cold", "failed", "sleeping"):
        parts.append(f"about {model['eta_s']} s")
    if model["command"]:
        parts.append(f"{model['command']} asked for")
    if not model["is_open"]:
        parts.append("closed to requests")
    return ", ".join(parts)


def money(amount: str) -> str:
    """An exact decimal without the zeros that say nothing, and two decimals at least."""
    whole, _, part = amount.partition(".")
    return f"{whole}.{part.rstrip('0').ljust(2, '0')}"


def coded(text: str) -> Markup:
    """Words between backticks are what somebody types."""
    parts = [escape(part) for part in text.split("`")]
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if index % 2 else part
        for index, part in enumerate(parts)
    )


def width(part: float | None, whole: float) -> int:
    """Of a bar of 1000."""
    return 0 if not part or whole <= 0 else round(1000 * min(1.0, part / whole))


FIGURES: Final[Mapping[str, Callable[..., str | int]]] = {
    "gigabytes": gigabytes,
    "latency": latency,
    "rate": rate,
    "percent": percent,
    "tokens": tokens,
    "state": state,
    "money": money,
    "coded": coded,
    "width": width,
}
"""Of templates."""
