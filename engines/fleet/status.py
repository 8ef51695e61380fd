"""One engine as operators see it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from engines.fleet.actions import Why
from engines.fleet.device_memory import HOST, MemoryNeed
from engines.fleet.sleep_state import SleepStatus
from engines.fleet.view import State
from engines.stats import EngineStats


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStatus:
    """One engine as operators see it. `since` is in Unix seconds."""

    key: str
    kind: str
    source: str
    aliases: tuple[str, ...]
    state: State
    since: float
    reason: str | None
    leases: int
    waiting: int
    restarts: int
    is_preloaded: bool
    waits_for: str | None = None
    """starting: what it waits for that is not on this machine, in words."""
    is_hopeless: bool = False
    """It can never start on this machine, and is not tried again."""
    stats: EngineStats | None = None
    """Its scheduler's own figures, where it serves and tells them."""
    command: Literal["load", "unload", "sleep"] | None = None
    """What an operator told it, and is under way."""
    need: MemoryNeed | None = None
    measured_bytes: int | None = None
    """Seen to be taken of all its devices, while it serves; None: it cannot tell."""
    kv_bytes: int | None = None
    """Of that, its KV cache, full or empty."""
    devices: tuple[int, ...] = ()
    used_at: float | None = None
    """When its last request ended, in Unix seconds: now, while one runs; None: it had none."""
    is_pinned: bool = False
    keep_s: float | None = None
    replica: int = 0
    """Which of its aliases' equal engines it is, from 0."""
    is_first: bool = True
    """Of its replicas: the one that serves or comes next."""
    closed: frozenset[str] = frozenset()
    """Its aliases that no request is served under until an operator loads them."""
    loads: int = 0
    unloads: Mapping[Why, int] = field(default_factory=dict)
    turn_wait_s: float = 0.0
    """How long it waited for its turn, its weights being here, in all."""
    sleep: SleepStatus = field(default_factory=SleepStatus)

    @property
    def planned_bytes(self) -> int | None:
        """Of all its devices; None: it is not known."""
        if self.need is None:
            return None
        return self.need.bytes_each * self.need.devices + self.need.host_bytes

    def held_bytes(self, device: int) -> int:
        """Planned of one of its devices; asleep, what it keeps there. 0: it is not known."""
        if self.need is None:
            return 0
        is_asleep = self.state == "sleeping" and device != HOST
        return self.need.asleep_bytes_each if is_asleep else self.need.on(device)
