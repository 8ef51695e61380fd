"""What a request's time went into, as bars side by side."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

WIDE: Final = 1000.0
"""Of the picture."""
_LEAST: Final = 2.0
"""Of a bar: what is too short to be seen is seen."""
MEANINGS: Final[Mapping[str, str]] = {
    "queue": "waited for an engine",
    "load": "its engine was loaded",
    "prompt": "rendered, tokenised and reserved for",
    "turn": "waited for its turn on a full engine",
    "prefill": "read, to its first token",
    "decode": "generated, to its last token",
    "embed": "embedded",
    "score": "scored",
    "tokenize": "tokenised",
    "settle": "its record written",
}


class PhaseBar(NamedTuple):
    phase: str
    meaning: str
    begins_ms: float
    lasts_ms: float
    x: float
    width: float
    """Of WIDE."""


def bars_of(phases: Sequence[Mapping[str, Any]]) -> list[PhaseBar]:
    """Of a timeline of the admin API."""
    whole = max((phase["begins_ms"] + phase["lasts_ms"] for phase in phases), default=0.0) or 1.0
    return [_bar(phase, WIDE / whole) for phase in phases]


def _bar(phase: Mapping[str, Any], scale: float) -> PhaseBar:
    width = max(phase["lasts_ms"] * scale, _LEAST)
    return PhaseBar(
        phase=phase["phase"],
        meaning=MEANINGS.get(phase["phase"], ""),
        begins_ms=phase["begins_ms"],
        lasts_ms=phase["lasts_ms"],
        x=round(min(phase["begins_ms"] * scale, WIDE - width), 1),
        width=round(width, 1),
    )
