"""What a server's streams and its event loop did in a span of time: read from the files that
benchmarks/gap_streams.py and benchmarks/loop_probe.py write."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


@dataclass(frozen=True, slots=True, kw_only=True)
class Lateness:
    """Of the event loop at its worst, in ms."""

    late_ms: float = 0.0
    worked_ms: float = 0.0
    without_core_ms: float = 0.0

    @property
    def locked_ms(self) -> float:
        """It waited for the interpreter's lock, which a thread held."""
        return max(0.0, self.late_ms - self.worked_ms - self.without_core_ms)

    @property
    def ours_ms(self) -> float:
        """What no other process' work explains."""
        return round(max(0.0, self.late_ms - self.without_core_ms), 1)


class Row(NamedTuple):
    """A line of a file that a probe writes: a moment, and ms before it."""

    at: float
    ms: float
    worked_ms: float = 0.0
    without_core_ms: float = 0.0


class GapWatch:
    """Of one server of benchmarks/gap_server.py; `folder` is its own."""

    def __init__(self, folder: Path) -> None:
        self._gaps, self._lateness = folder / "gaps", folder / "lateness"
        self._readers_lateness = folder / "gaps.lateness"

    def lateness(self, began: float, ended: float) -> Lateness:
        """The worst one, by time.monotonic."""
        late = [row for row in _rows(self._lateness) if began <= row.at <= ended]
        worst = max(late, key=lambda row: row.ms - row.without_core_ms, default=Row(0.0, 0.0))
        return Lateness(
            late_ms=worst.ms, worked_ms=worst.worked_ms, without_core_ms=worst.without_core_ms
        )

    def gap_ms(self, began: float, ended: float) -> float:
        """The longest between two chunks of a stream, without the time that the server's loop or
        the streams' reader was ready and had no core."""
        late = [*_rows(self._lateness), *_rows(self._readers_lateness)]
        late = [row for row in late if began - 1 <= row.at <= ended + 1]
        gaps = self._within(began, ended)
        return round(max((gap.ms - _without_core_ms(gap, late) for gap in gaps), default=0.0), 1)

    def whole_gap_ms(self, began: float, ended: float) -> float:
        """The longest as a client has it, whatever it was for."""
        return round(max((gap.ms for gap in self._within(began, ended)), default=0.0), 1)

    def gaps_s(self, began: float, ended: float) -> list[float]:
        """All that are written, in seconds."""
        return [gap.ms / 1e3 for gap in self._within(began, ended)]

    def _within(self, began: float, ended: float) -> list[Row]:
        return [gap for gap in _rows(self._gaps) if began <= gap.at <= ended]


def _without_core_ms(gap: Row, late: Sequence[Row]) -> float:
    """Of the latenesses that lie within a gap."""
    begin = gap.at - gap.ms / 1e3
    within = (row for row in late if begin <= row.at <= gap.at + row.ms / 1e3)
    return min(gap.ms, sum(row.without_core_ms for row in within))


def _rows(file: Path) -> list[Row]:
    """Whole lines of numbers."""
    lines = file.read_text().rpartition("\n")[0].splitlines() if file.exists() else []
    return [Row(*map(float, line.split())) for line in lines]
