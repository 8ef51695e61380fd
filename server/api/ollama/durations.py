"""How Ollama's clients say how long a model shall stay: seconds, or Go's durations."""

import re

LONGEST = 64
"""Characters of a duration."""

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_WHOLE = re.compile(rf"-?(?:{_PART.pattern})+")


def seconds_of(said: float | str) -> float:
    """`300`, `-1`, `"5m"`, `"1h30m"`, `"0"` -> seconds; below 0: for ever. Raises ValueError."""
    if not isinstance(said, str):
        return said
    text = said.strip()
    if re.fullmatch(r"-?\d+(\.\d*)?", text):
        return float(text)
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"{said!r} is no duration")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    return -seconds if text.startswith("-") else seconds
