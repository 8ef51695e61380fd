"""One engine as the fleet's decisions see it."""

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from engines.fleet.device_memory import HOST, MemoryNeed

State: TypeAlias = Literal[
    "cold",
    "fetching",
    "starting",
    "ready",
    "falling_asleep",
    "sleeping",
    "waking",
    "stopping",
    "failed",
]
"""cold: nothing runs. fetching: its weights come onto this machine, or wait there for their turn.
starting: they are loaded. ready: it generates. falling_asleep: it gives its cards' memory back.
sleeping: it has; its process stays, its weights wait in host memory or on the disk. waking: they
come back. stopping: it is being ended. failed: the last fetch or load failed, see reason; it is
tried again, unless that is final."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineView:
    """One engine as a decision sees it. Times are the monotonic clock's seconds."""

    key: str
    state: State = "cold"
    leases: int = 0
    """Requests running on it."""
    patient_leases: int = 0
    """Of those, the ones that yield: they keep it from nobody else for long."""
    waiting_since: float | None = None
    """When the longest waiting request came; None: nobody waits for it."""
    is_patient: bool = False
    """All that wait for it yield to everybody else."""
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
    is_elsewhere: bool = False
    """On another node: it starts beside whatever starts here."""
    need: MemoryNeed | None = None
    """None: it is taken to fit beside the others."""
    devices: tuple[int, ...] = ()
    """Where it stands, while it is starting, ready or stopping."""
    ready_at: float = 0.0
    used_at: float = 0.0
    """When its last request ended that does not yield."""
    patient_used_at: float = 0.0
    """When the last one ended that does."""
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
    """It sleeps, or ends, by itself when it was idle for so long."""
    can_sleep: bool = False
    """ready: it can give its cards' memory back and keep its process."""
    is_to_sleep: bool = False
    """An operator has it sleep: it takes no new request, and sleeps when it is idle."""
    sleep_level: int = 0
    """From where it goes to sleep until it woke or ended: at level 1 its weights are in host
    memory. 0: it is awake."""
    asleep_at: float | None = None
    """Since when it sleeps; it is kept while it is stopped out of its sleep."""
    weights_bytes: int = 0
    """0: they are not known."""
    wakes_s: tuple[float, float] = (0.0, 0.0)
    """How long its wake takes from level 1, and from 2."""
    return_s: float | None = None
    """ready: how long it takes until it serves again, once it left; None: as its load."""

    @property
    def is_busy(self) -> bool:
        """With requests that do not yield."""
        return self.leases > self.patient_leases

    @property
    def last_used_at(self) -> float:
        return max(self.used_at, self.patient_used_at)

    @property
    def back_s(self) -> float:
        """How long it takes until it serves again, once it left."""
        return self.load_s if self.return_s is None else self.return_s

    @property
    def is_asleep(self) -> bool:
        """Of its cards it holds no more than who sleeps keeps."""
        return self.state == "sleeping" or (self.state == "stopping" and self.asleep_at is not None)

    @property
    def host_weights_bytes(self) -> int:
        """Of its weights, what it holds in host memory for its sleep."""
        return self.weights_bytes if self.sleep_level == 1 else 0

    @property
    def wanted(self) -> MemoryNeed | None:
        """What it takes once it serves: one that sleeps can stand nowhere else."""
        cards = tuple(device for device in self.devices if device != HOST)
        if self.need is None or self.state != "sleeping" or not cards:
            return self.need
        return replace(self.need, fixed=cards)


def are_replicas(one: EngineView, other: EngineView) -> bool:
    """Whether a request of the one may go to the other."""
    return bool(one.group) and one.group == other.group
