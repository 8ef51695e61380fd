"""What to start and stop next: pure decisions over a snapshot of the engines."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

State: TypeAlias = Literal[
    "cold", "fetching", "starting", "ready", "sleeping", "stopping", "failed"
]
"""cold: nothing runs. fetching: its weights come onto this machine, or wait there for their turn.
starting: they are loaded. ready: it generates. sleeping: its weights wait in host memory. stopping:
it is being ended. failed: the last fetch or load failed, see reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long to leave an engine alone after its n-th failure in a row (seconds)."""

    first_s: float = 1.0
    factor: float = 2.0
    longest_s: float = 120.0
    forgiven_after_s: float = 60.0
    """An engine that served for so long starts counting its failures afresh."""

    def delay_s(self, failures: int) -> float:
        """0 before the first failure; the exponent is bounded, so that it never overflows."""
        if failures <= 0:
            return 0.0
        return min(self.longest_s, self.first_s * self.factor ** min(failures - 1, 64))


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineView:
    """One engine as a decision sees it. Times are the monotonic clock's seconds."""

    key: str
    state: State = "cold"
    leases: int = 0
    """Requests running on it."""
    waiting_since: float | None = None
    """When the longest waiting request came; None: nobody waits for it."""
    keep_ready: bool = False
    """The registry preloads it, so it is started without being asked."""
    is_broken: bool = False
    """It is ready by its state, and was found dead or hung."""
    retry_at: float = 0.0
    """Not to be fetched or started before this time."""
    is_fetched: bool = False
    """fetching: its weights are there."""


@dataclass(frozen=True, slots=True)
class Fetch:
    key: str


@dataclass(frozen=True, slots=True)
class Start:
    key: str


@dataclass(frozen=True, slots=True)
class Stop:
    key: str


Action: TypeAlias = Fetch | Start | Stop


def decide(engines: Sequence[EngineView], now: float) -> list[Action]:
    """The next steps, engines given in the registry's order. Same snapshot, same answer."""
    return [*_stops(engines), *_fetches(engines, now), *_starts(engines)]


def next_retry_at(engines: Sequence[EngineView], now: float) -> float | None:
    """When `decide` may answer differently though nothing else happens; None: never."""
    times = [e.retry_at for e in engines if _is_wanted(e) and e.retry_at > now]
    return min(times, default=None)


def _stops(engines: Sequence[EngineView]) -> list[Action]:
    """Broken engines end at once. Room for another model (evicting idle engines) is decided here
    too once plans say what fits; until then every engine is taken to fit beside the others."""
    return [Stop(e.key) for e in engines if e.state == "ready" and e.is_broken]


def _fetches(engines: Sequence[EngineView], now: float) -> list[Action]:
    """Side by side, also while others load: a download of hours must hold up nobody else."""
    return [Fetch(e.key) for e in engines if _is_wanted(e) and e.retry_at <= now]


def _starts(engines: Sequence[EngineView]) -> list[Action]:
    """One at a time: an engine measures the free memory while it starts, so that a second one
    loading, or one still giving memory back, would make it measure wrong."""
    if any(e.state in ("starting", "stopping") or e.is_broken for e in engines):
        return []
    fetched = [e for e in engines if e.state == "fetching" and e.is_fetched]
    return [Start(min(fetched, key=_urgency).key)] if fetched else []


def _is_wanted(engine: EngineView) -> bool:
    asked = engine.keep_ready or engine.waiting_since is not None
    return asked and engine.state in ("cold", "failed")


def _urgency(engine: EngineView) -> tuple[bool, float]:
    """Who has waited longest comes first, then preloads in the registry's order (min is stable)."""
    waiting = engine.waiting_since
    return (waiting is None, waiting or 0.0)
