"""A node's engines under a load, without engines: the fleet's own decisions on a clock of ours."""

import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from engines.fleet.actions import (
    Action,
    Displace,
    Fetch,
    Leave,
    Refuse,
    Sleep,
    Start,
    Stay,
    Stop,
    Wake,
)
from engines.fleet.decisions import decide, next_time
from engines.fleet.device_memory import HOST, DeviceMemory, MemoryNeed, asleep_on
from engines.fleet.held_memory import taken_by
from engines.fleet.sleep_rules import SleepRules
from engines.fleet.turns import TurnRules
from engines.fleet.view import EngineView

_MOST_ROUNDS = 100
"""Decisions in one moment; more is a circle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What is simulated of one model."""

    key: str
    need: MemoryNeed
    load_s: float
    stop_s: float = 1.0
    is_preloaded: bool = False
    is_pinned: bool = False
    keep_s: float | None = None
    can_sleep: bool = False
    sleep_s: float = 1.0
    wakes_s: tuple[float, float] = (2.0, 10.0)
    """From level 1, and from 2."""


@dataclass(frozen=True, slots=True, order=True)
class Arrival:
    """A request: when it comes (s), for whom, and how long it runs once it may."""

    at: float
    key: str
    runs_s: float


@dataclass(slots=True)
class Served:
    """What became of a simulated load."""

    waits_s: dict[str, list[float]] = field(default_factory=dict)
    """key -> seconds from each request's arrival to its start."""
    refused: int = 0
    loads: int = 0
    sleeps: int = 0
    wakes: int = 0
    end_s: float = 0.0


class Simulation:
    """Runs arrivals to their end; `check` is called with the views after each decision."""

    def __init__(
        self,
        models: Iterable[Model],
        room: DeviceMemory,
        turns: TurnRules,
        check: Callable[[Sequence[EngineView]], None] = lambda views: None,
        rules: SleepRules | None = None,
    ) -> None:
        self._models = {model.key: model for model in models}
        self._room, self._turns, self._check = room, turns, check
        self._rules = rules or SleepRules()
        self._views = {
            m.key: EngineView(
                key=m.key,
                need=m.need,
                keep_ready=m.is_preloaded,
                is_pinned=m.is_pinned,
                keep_s=m.keep_s,
                can_sleep=m.can_sleep,
                weights_bytes=m.need.weights_bytes,
                wakes_s=m.wakes_s,
            )
            for m in self._models.values()
        }
        self._waiting: dict[str, deque[Arrival]] = {key: deque() for key in self._models}
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._wakes_at = math.inf
        self.now = 0.0
        self.served = Served(waits_s={key: [] for key in self._models})

    def run(self, arrivals: Iterable[Arrival], until_s: float = math.inf) -> Served:
        for arrival in arrivals:
            self._later(arrival.at, lambda arrival=arrival: self._arrive(arrival))  # type: ignore[misc]
        self._settle()
        while self._events and self._events[0][0] <= until_s:
            self.now, _, happens = heapq.heappop(self._events)
            happens()
            self._settle()
        self.served.end_s = self.now
        return self.served

    @property
    def still_waiting(self) -> int:
        return sum(map(len, self._waiting.values()))

    def _later(self, at: float, happens: Callable[[], None]) -> None:
        heapq.heappush(self._events, (at, next(self._numbers), happens))

    def _set(self, key: str, **facts: object) -> None:
        self._views[key] = replace(self._views[key], **facts)  # type: ignore[arg-type]

    def _settle(self) -> None:
        for _ in range(_MOST_ROUNDS):
            views = list(self._views.values())
            self._check(views)
            actions = decide(views, self.now, self._room, self._turns, self._rules)
            if not actions:
                break
            for action in actions:
                self._act(action)
        else:
            raise AssertionError(f"no end of decisions: {actions}")
        views = list(self._views.values())
        at = next_time(views, self.now, self._room, self._turns, self._rules)
        if at is not None and (at < self._wakes_at or self._wakes_at <= self.now):
            self._wakes_at = at
            self._later(at, lambda: None)

    def _act(self, action: Action) -> None:
        key = action.key
        model = self._models[key]
        match action:
            case Fetch():
                self._set(key, state="fetching", is_fetched=True)
            case Start(devices=devices):
                self.served.loads += 1
                self._set(key, state="starting", is_fetched=False, devices=devices)
                self._later(self.now + model.load_s, lambda: self._ready(key))
            case Leave():
                self._set(key, is_leaving=True)
            case Stay():
                self._set(key, is_leaving=False)
                self._admit(key)
            case Displace():
                self._set(key, state="cold", is_fetched=False, keep_ready=False)
            case Refuse():
                self.served.refused += len(self._waiting[key])
                self._waiting[key].clear()
                self._set(key, state="failed", retry_at=math.inf, waiting_since=None)
            case Sleep(level=level):
                self.served.sleeps += 1
                self._set(key, state="falling_asleep", sleep_level=level, keep_ready=False)
                self._later(self.now + model.sleep_s, lambda: self._asleep(key))
            case Wake():
                self.served.wakes += 1
                wake_s = model.wakes_s[self._views[key].sleep_level - 1]
                self._set(key, state="waking", asleep_at=None)
                self._later(self.now + wake_s, lambda: self._ready(key))
            case Stop():
                self._set(key, state="stopping", keep_ready=False)
                self._later(self.now + model.stop_s, lambda: self._gone(key))

    def _arrive(self, arrival: Arrival) -> None:
        view = self._views[arrival.key]
        if view.state == "failed" and view.retry_at == math.inf:
            self.served.refused += 1
            return
        self._waiting[arrival.key].append(arrival)
        self._admit(arrival.key)

    def _ready(self, key: str) -> None:
        load_s = self._models[key].load_s
        self._set(key, state="ready", ready_at=self.now, used_at=0.0, load_s=load_s, sleep_level=0)
        self._admit(key)

    def _asleep(self, key: str) -> None:
        self._set(key, state="sleeping", is_leaving=False, is_to_sleep=False, asleep_at=self.now)

    def _gone(self, key: str) -> None:
        self._set(key, state="cold", devices=(), is_leaving=False, is_unwanted=False)
        self._set(key, sleep_level=0, asleep_at=None)

    def _admit(self, key: str) -> None:
        view, waiting = self._views[key], self._waiting[key]
        if view.state == "ready" and not view.is_leaving:
            for arrival in waiting:
                self.served.waits_s[key].append(self.now - arrival.at)
                self._later(self.now + arrival.runs_s, lambda: self._end(key))
            self._set(key, leases=view.leases + len(waiting))
            waiting.clear()
        self._set(key, waiting_since=waiting[0].at if waiting else None)

    def _end(self, key: str) -> None:
        self._set(key, leases=self._views[key].leases - 1, used_at=self.now)


def over_memory(views: Sequence[EngineView], room: DeviceMemory) -> list[int]:
    """The devices that hold more than they can."""
    host = math.inf if room.host_bytes is None else room.host_bytes
    sizes = dict(enumerate(map(float, room.sizes))) | {HOST: host}
    used = taken_by(views)
    for card in range(len(room.sizes)):  # what is more than who sleeps may keep, others lack
        spare = room.spare[card] if room.spare else 0
        used[card] = used.get(card, 0) + max(0, used.pop(asleep_on(card), 0) - spare)
    return [device for device, bytes_ in used.items() if bytes_ > sizes[device]]
