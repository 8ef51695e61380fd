"""One engine as the fleet's decisions see it."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from engines.fleet.device_memory import MemoryNeed

State: TypeAlias = Literal[
    "cold", "fetching", "starting", "ready", "sleeping", "stopping", "failed"
]
"""cold: nothing runs. fetching: its weights come onto this machine, or wait there for their turn.
starting: they are loaded. ready: it generates. sleeping: its weights wait in host memory. stopping:
it is being ended. failed: the last fetch or load failed, see reason; it is tried again, unless that
is final."""


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
    is_final: bool = False
    """failed: it is not tried again."""
    need: MemoryNeed | None = None
    """None: it is taken to fit beside the others."""
    devices: tuple[int, ...] = ()
    """Where it stands, while it is starting, ready or stopping."""
    ready_at: float = 0.0
    used_at: float = 0.0
    """When its last request ended."""
    load_s: float = 0.0
    """How long its last start took."""
    is_leaving: bool = False
    """ready, and takes no new request: it makes room for another once the last one has ended."""
    is_pinned: bool = False
    """It never makes room for another."""
    is_unwanted: bool = False
    """An operator ends it: it takes no new request, and leaves when it is idle."""
    group: str = ""
    """The same for all replicas of a model; empty: it is the only engine."""
    is_spare: bool = False
    """It serves, and a replica of it too: its model is served without it."""
    keep_s: float | None = None
    """It ends by itself when it was idle for so long."""


def are_replicas(one: EngineView, other: EngineView) -> bool:
    """Whether a request of the one may go to the other."""
    return bool(one.group) and one.group == other.group
