"""One engine of the fleet: its state, who waits for it, and how operators see it."""

import asyncio
import logging
import time
from collections import Counter
from dataclasses import dataclass, field

from engines.base import Engine, EngineBroken, EngineNeverFits, EngineNotLoaded, EngineUnavailable
from engines.fleet.actions import Why
from engines.fleet.backoff import Backoff
from engines.fleet.device_memory import MemoryNeed
from engines.fleet.outlook import Prospect, first_load_s
from engines.fleet.pace import FetchPace
from engines.fleet.replicas import Replicas, Wait
from engines.fleet.running import Running
from engines.fleet.sleep_state import SleepState
from engines.fleet.view import EngineView, State
from engines.registry.spec import EngineSpec

log = logging.getLogger("fjord.fleet")


@dataclass(slots=True, eq=False)
class ManagedEngine:
    """What the fleet knows of one engine. Only its owner task changes it, but for who waits."""

    spec: EngineSpec
    aliases: tuple[str, ...]
    keep_ready: bool
    start_timeout_s: float | None = None
    """The registry's, where it says one: the longest of its aliases'."""
    state: State = "cold"
    since: float = field(default_factory=time.time)
    reason: str | None = None
    engine: Engine | None = None
    """Built, and not yet known to be stopped."""
    running: Running | None = None
    """Set exactly while it is ready, not known to be broken, and takes requests."""
    leaving: Running | None = None
    """Instead of `running`, while it ends what it has to make room for another."""
    need: MemoryNeed | None = None
    devices: tuple[int, ...] = ()
    load_s: float = 0.0
    """How long its last start took."""
    measured_bytes: int | None = None
    """What it took of all its devices then; None: it cannot tell."""
    kv_bytes: int | None = None
    """Of that, its KV cache."""
    is_displaced: bool = False
    """It ended though it works: it starts again once it is asked for."""
    is_unwanted: bool = False
    """An operator ends it."""
    is_pinned: bool = False
    """It never makes room for another."""
    keep_s: float | None = None
    """It sleeps, or ends, when it was idle for so long."""
    sleep: SleepState = field(default_factory=SleepState)
    closed: set[str] = field(default_factory=set)
    """Aliases that no request is served under until an operator loads them."""
    never: frozenset[str] = frozenset()
    """Those of the registry, which an operator's unload closes again."""
    is_pinned_at_first: bool = False
    """As the registry says."""
    is_removed: bool = False
    """It is in the registry no more, and ends."""
    called_at: float | None = None
    """Since when an operator's load is under way, by the monotonic clock."""
    loads: int = 0
    unloads: Counter[Why] = field(default_factory=Counter)
    fetched_at: float = 0.0
    """When its wait for its turn began, by the monotonic clock."""
    turn_wait_s: float = 0.0
    """The time of all its waits for a turn."""
    last_used_at: float | None = None
    """When the last request ended on an engine that is gone, in Unix seconds."""
    is_fetched: bool = False
    """It is built, and waits for its turn to start."""
    task: asyncio.Task[None] | None = None
    """The one that fetches, starts, watches or stops it."""
    is_broken: bool = False
    is_replacement: bool = False
    """It was serving when it broke: it is started again without being asked, once."""
    is_hopeless: bool = False
    """It can never start on this machine."""
    refusal: str | None = None
    """Why, where that is fit for clients too."""
    failures: int = 0
    restarts: int = 0
    retry_at: float = 0.0
    replicas: Replicas["ManagedEngine"] = field(default_factory=Replicas)
    """Those that serve the same aliases, itself among them, and who waits for one of them."""

    def __post_init__(self) -> None:
        if not self.replicas.members:
            self.replicas.members = (self,)

    @property
    def is_first(self) -> bool:
        """Of its replicas: the one that serves or comes next."""
        return self.replicas.first is self

    def wake(self) -> None:
        """Let everybody who waits look again."""
        self.replicas.wake()

    @property
    def current(self) -> Running | None:
        """What serves, whether it takes new requests or not."""
        return self.running or self.leaving

    @property
    def is_gone(self) -> bool:
        """It is in the registry no more, and has ended."""
        return self.is_removed and self.state in ("cold", "failed")

    @property
    def is_as_wanted(self) -> bool:
        return not self.keep_ready or self.is_displaced or self.current is not None

    def was_fetched(self) -> None:
        """It waits for its turn to start."""
        self.is_fetched, self.fetched_at = True, time.monotonic()

    def leave(self) -> None:
        """Take no new request."""
        self.running, self.leaving = None, self.running
        log.info("engine %s makes room once its requests have ended", self.spec.key)

    def stay(self) -> None:
        """Take requests again."""
        self.running, self.leaving = self.leaving, None
        self.called_at = None
        log.info("engine %s need not make room", self.spec.key)
        self.wake()

    def count_failure(self, backoff: Backoff) -> None:
        """One more in a row, so it is left alone for longer."""
        self.failures += 1
        self.retry_at = time.monotonic() + backoff.delay_s(self.failures)

    def load_failed(self, reason: str, *, is_final: bool, refusal: str | None) -> None:
        """Its fetch did, or its start: nothing runs."""
        self.devices = ()
        self.is_replacement = self.is_unwanted = False
        self.called_at = None
        self.is_hopeless, self.refusal = is_final, refusal
        self.become("failed", reason)
        self.wake()

    def raise_if_closed(self, alias: str) -> None:
        if alias in self.closed:
            message = f"Model {alias} is not loaded; only the server's operator can load it."
            raise EngineNotLoaded(message)

    def raise_if_removed(self, alias: str) -> None:
        if self.is_removed:
            raise EngineUnavailable(f"Model {alias} is served no more.", 1.0)

    @property
    def is_failing(self) -> bool:
        """It is left alone for now, or for good, because it could not be loaded."""
        is_left = self.state == "failed" and self.retry_at > time.monotonic()
        return self.is_hopeless or self.refusal is not None or is_left

    def raise_if_failed(self, alias: str) -> None:
        """Raises EngineUnavailable while it is left alone, EngineBroken where it always will be.
        A reason may hold paths and a library's words: `become` has told the log."""
        never = f"Model {alias} can never be loaded here"
        if self.refusal is not None:
            raise EngineNeverFits(f"{never}: {self.refusal}")
        if self.is_hopeless:
            raise EngineBroken(f"{never}; the server's log says why.")
        wait_s = self.retry_at - time.monotonic()
        if self.state == "failed" and wait_s > 0:
            message = f"Model {alias} cannot be loaded now; the server's log says why."
            raise EngineUnavailable(message, wait_s)

    def refuse(self) -> None:
        """For good: asking again changes nothing."""
        assert self.need is not None
        each = f"{self.need.bytes_each / 1e9:.1f} GB"
        on = "" if self.need.devices == 1 else f" on each of {self.need.devices} devices"
        self.called_at = None
        self.is_hopeless, self.refusal = True, f"it takes {each}{on}, more than there is"
        self.become("failed", self.refusal)
        self.wake()

    def displace(self) -> None:
        """It ends though it works; no replica that does not serve comes in its place unasked."""
        self.is_displaced = True
        for other in self.replicas.members:
            if other.state in ("cold", "failed"):
                other.is_displaced, other.is_replacement = True, False

    def close(self) -> None:
        self.last_used_at = self.used_at()
        self.running = self.leaving = None

    def used_at(self) -> float | None:
        """When its last request ended, in Unix seconds: now, while one runs. None: it had none."""
        if self.current is None or not (self.current.leases or self.current.last_used_at):
            return self.last_used_at
        idle_s = 0.0 if self.current.leases else time.monotonic() - self.current.last_used_at
        return time.time() - idle_s

    def become(self, state: State, reason: str | None = None) -> None:
        self.state, self.reason, self.since = state, reason, time.time()
        level = logging.WARNING if state == "failed" else logging.INFO
        log.log(level, "engine %s: %s%s", self.spec.key, state, f" ({reason})" if reason else "")

    def view(self) -> EngineView:
        current, is_first = self.current, self.is_first
        longest = self._longest_wait() if is_first else None
        return EngineView(
            key=self.spec.key,
            group=self.spec.group if len(self.replicas.members) > 1 else "",
            state=self.state,
            leases=current.leases if current else 0,
            patient_leases=current.patient_leases if current else 0,
            ready_at=current.ready_at if current else 0.0,
            used_at=current.used_at if current else 0.0,
            patient_used_at=current.patient_used_at if current else 0.0,
            is_elsewhere=self.spec.kind == "peer",
            need=self.need,
            devices=self.devices,
            load_s=self.load_s,
            is_leaving=self.leaving is not None,
            is_pinned=self.is_pinned,
            is_spare=self.running is not None
            and self.replicas.is_another_free((self.spec.replica,)),
            is_unwanted=self.is_unwanted,
            keep_s=self.keep_s,
            waiting_since=longest.since if longest else None,
            is_patient=longest is not None and longest.is_patient,
            keep_ready=is_first and self._is_kept_ready(),
            is_broken=self.is_broken,
            retry_at=self.retry_at,
            is_fetched=self.is_fetched,
            is_final=self.is_hopeless,
            can_sleep=self.sleep.can_sleep and len(self.replicas.members) == 1,
            is_to_sleep=self.sleep.is_ordered,
            sleep_level=self.sleep.level,
            asleep_at=self.sleep.at,
            weights_bytes=self.sleep.weights_bytes,
            wakes_s=self.sleep.wakes_s,
        )

    def _is_kept_ready(self) -> bool:
        return (self.keep_ready and not self.is_displaced) or self.is_replacement

    def _longest_wait(self) -> Wait | None:
        called = () if self.called_at is None else (Wait(False, self.called_at),)
        return min((*self.replicas.waiters.values(), *called), default=None)

    def prospect(self, weights_bytes: int, pace: FetchPace | None) -> Prospect:
        """`weights_bytes` 0: they are not here yet."""
        coming = (pace.total or 0) if pace is not None else 0
        load_s = self.load_s or first_load_s(self.spec.kind, weights_bytes or coming)
        return Prospect(
            in_state_s=max(0.0, time.time() - self.since),
            load_s=self.sleep.wake_s(self.sleep.level) if self.sleep.level else load_s,
            pace=pace,
        )

    def is_over(self) -> None:
        """Its engine has ended: nothing runs."""
        self.is_replacement = self.is_broken and not self.is_unwanted
        self.is_broken = self.is_unwanted = False
        self.devices = ()
        self.sleep.is_over()
        self.become("cold", self.reason)
