"""Numbers as Grafana writes them, by its units' names."""

import math

_SECONDS = ((86400, "day"), (3600, "hour"), (60, "min"), (1, "s"), (1e-3, "ms"), (1e-6, "µs"))
_AFTER = {"reqps": " req/s", "ops": " ops/s", "short": ""}


def shown(value: float, unit: str, decimals: int | None = None) -> str:
    """`decimals`: of a panel that names them, for a number that needs no larger unit."""
    if math.isnan(value):
        return "-"
    if decimals is not None and abs(value) < 1000:
        return f"{value:.{decimals}f}{_AFTER[unit]}"
    match unit:
        case "s":
            return _seconds(value)
        case "bytes":
            return _scaled(value, 1024, ("B", "KiB", "MiB", "GiB", "TiB"))
        case "percentunit":
            return f"{_brief(100 * value)}%"
        case _:
            return _scaled(value, 1000, ("", "K", "Mil", "Bil", "Tri")) + _AFTER[unit]


def ticks(top: float, unit: str = "short") -> list[float]:
    """From 0 to at most `top`, three to six of them, at numbers that people count by."""
    if unit == "bytes" and top >= 1024:
        size = 1024 ** int(math.log(top, 1024))
        return [size * tick for tick in ticks(top / size)]
    power = 10 ** math.floor(math.log10(top / 5))
    step = next(power * times for times in (1, 2, 2.5, 5, 10) if power * times * 5.5 >= top)
    return [step * number for number in range(int(top / step + 1e-9) + 1)]


def _seconds(value: float) -> str:
    if value == 0:
        return "0 s"
    size, name = next(((size, name) for size, name in _SECONDS if abs(value) >= size), _SECONDS[-1])
    number = _brief(value / size)
    return f"{number} {name}{'s' if size >= 3600 and number != '1' else ''}"


def _scaled(value: float, base: int, names: tuple[str, ...]) -> str:
    step = 0
    while abs(value) >= base and step < len(names) - 1:
        value, step = value / base, step + 1
    return f"{_brief(value)} {names[step]}".rstrip()


def _brief(value: float) -> str:
    """Three digits."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
