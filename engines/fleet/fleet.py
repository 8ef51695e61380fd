"""Which engines run: load, share, watch, restart, stop.

One task owns every state; requests, watchers and loaders only tell it what happened.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from engines.base import Adapter, Engine
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
from engines.fleet.backoff import Backoff
from engines.fleet.claims import priced
from engines.fleet.commands import OperatorCommands
from engines.fleet.decisions import decide, is_short, next_time
from engines.fleet.engine_state import ManagedEngine
from engines.fleet.inbox import Inbox
from engines.fleet.lease import Lease
from engines.fleet.node_memory import NodeMemory
from engines.fleet.outlook import Outlook, Prospect, outlooks
from engines.fleet.pace import FetchPace
from engines.fleet.pins import refuse_pinned_out
from engines.fleet.renewal import Renewal
from engines.fleet.replicas import no_prefixes
from engines.fleet.reported import status_of
from engines.fleet.routing import Prefixes
from engines.fleet.running import Running
from engines.fleet.shared_engines import by_alias, shared_engines
from engines.fleet.shutdown import end_all
from engines.fleet.sleep_rules import SleepRules
from engines.fleet.sleepers import Sleepers
from engines.fleet.start_limit import StartLimit
from engines.fleet.status import EngineStatus
from engines.fleet.steps import Build, EngineSteps
from engines.fleet.transitions import has_broken, load_has_failed
from engines.fleet.turns import TurnRules
from engines.fleet.view import State
from engines.fleet.watch import end_of
from engines.registry.spec import EngineSpec, ModelSpec

__all__ = ["Build", "Fleet", "Lease"]

log = logging.getLogger("fjord.fleet")

_STUMBLE_S = 0.2
"""A pause after an unexpected error, so that one that comes again does not fill the log."""


class Fleet:
    """The engines behind the aliases of `models`; aliases with equal EngineSpecs share one."""

    def __init__(
        self,
        models: Iterable[ModelSpec],
        build: Build,
        *,
        load_timeout_s: float = 600.0,
        check_interval_s: float = 2.0,
        check_timeout_s: float = 30.0,
        stop_timeout_s: float = 8.0,
        replace_timeout_s: float = 90.0,
        start_limit: StartLimit | None = None,
        weights_bytes: Callable[[EngineSpec], int] = lambda spec: 0,
        pace: Callable[[EngineSpec], FetchPace | None] = lambda spec: None,
        backoff: Backoff | None = None,
        memory: NodeMemory | None = None,
        turns: TurnRules | None = None,
        sleeping: SleepRules | None = None,
        on_ready: Callable[[], None] = lambda: None,
        begin_adapter: Callable[[Adapter], None] = lambda adapter: None,
    ) -> None:
        """`check_timeout_s` is long because a CPU may spend seconds in one step of a long prompt.
        `stop_timeout_s` bounds the end of all engines in `stop`; `replace_timeout_s` that of one
        engine before the next one starts, since a killed process of eight cards takes a while to
        give their memory back. `weights_bytes` is asked once an engine is built,
        `pace` while it is fetched.
        Engines share a `memory` by turns, each by its need; None: all are taken to fit beside each
        other."""
        self.load_timeout_s = load_timeout_s
        self._weights_bytes, self._pace = weights_bytes, pace
        self._check_interval_s, self._check_timeout_s = check_interval_s, check_timeout_s
        self._stop_timeout_s = stop_timeout_s
        self._replace_timeout_s = replace_timeout_s
        self.memory = memory = memory or NodeMemory()
        self._steps = EngineSteps(build, start_limit or StartLimit(), weights_bytes, memory)
        self._backoff = backoff or Backoff()
        self._on_ready = on_ready
        self._turns, self._sleeping = turns or TurnRules(), sleeping or SleepRules()
        self.is_short = False
        self._first_models = tuple(models)
        self._engines = shared_engines(self._first_models)
        for managed in self._engines.values():
            memory.first_look(managed)
        self._by_alias = by_alias(self._engines.values())
        self._inbox = Inbox()
        self._tell = self._inbox.tell
        self.commands = OperatorCommands(self, self._by_alias, self._tell)
        self.renewal = Renewal(self._engines, self._by_alias, memory, self._tell, begin_adapter)
        self._sleepers = Sleepers(
            self, self._tell, memory, self._sleeping, check_interval_s, check_timeout_s
        )
        self._owner: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None

    @property
    def is_stopped(self) -> bool:
        return self._stopping is not None

    async def start(self) -> None:
        """Returns at once; preloads go on in the background, one after another."""
        if self._owner is None:
            self.memory.watch(self.look_again)
            self.renewal.begin_adapters(self._first_models)
            self._owner = asyncio.create_task(self._own(), name="fleet")

    async def stop(self, timeout_s: float | None = None) -> None:
        """End every engine, whatever it is doing, within `timeout_s` (`stop_timeout_s`, unless it
        is told) + 1. A second call waits for what the first began."""
        if self._stopping is None:
            if timeout_s is not None:
                self._stop_timeout_s = timeout_s
            engines = list(self._engines.values())
            ends = end_all(engines, self._owner, self._steps, self._stop_timeout_s)
            self._stopping = asyncio.create_task(ends, name="fleet stops")
        await asyncio.shield(self._stopping)

    def lease(
        self,
        alias: str,
        deadline: float = math.inf,
        prefixes: Callable[[], Prefixes] = no_prefixes,
        *,
        is_patient: bool = False,
    ) -> Lease:
        """It is waited for until `deadline` (by the monotonic clock), or `load_timeout_s`; of
        several replicas one that knows `prefixes`. A patient one yields to others. Raises KeyError
        for an unknown alias. Entering it raises EngineUnavailable, or EngineLoadTimeout, when none
        can serve; why, stands in the log and the status."""
        managed = self._by_alias[alias]
        return Lease(self, managed, alias, deadline, prefixes, is_patient=is_patient)

    def engine_of(self, alias: str) -> ManagedEngine:
        """The first of its replicas."""
        return self._by_alias[alias]

    def outlook(self, alias: str) -> Outlook:
        """What a request for it may expect. Raises KeyError for an unknown alias."""
        return self.outlooks([alias])[alias]

    def outlooks(self, aliases: Iterable[str]) -> dict[str, Outlook]:
        """Of each; for several over one snapshot, as that takes most of the time."""
        engines = {alias: self._by_alias[alias].replicas.first for alias in aliases}
        room = self.memory.room
        views = priced([e.view() for e in self._engines.values()], room, self._sleeping)
        ways = {e.spec.key: self._way(e) for e in self._engines.values()}
        keys = {e.spec.key for e in engines.values() if not e.is_removed}
        of = outlooks(keys, views, ways, time.monotonic(), room, self._turns)
        return {alias: of.get(e.spec.key) or Outlook(state=e.state) for alias, e in engines.items()}

    def _way(self, managed: ManagedEngine) -> Prospect:
        return managed.prospect(self._weights_bytes(managed.spec), self._pace(managed.spec))

    def raise_if_pinned_out(self, alias: str) -> None:
        """Raises EngineNotLoaded where it has no room for as long as others are pinned."""
        views, room = [e.view() for e in self._engines.values()], self.memory.room
        refuse_pinned_out(alias, self._by_alias[alias].replicas.first.view(), views, room)

    def statuses(self) -> list[EngineStatus]:
        return [status_of(managed) for managed in self._engines.values() if not managed.is_gone]

    def is_ready(self) -> bool:
        """Does every preloaded alias serve, but for those that wait for their turn?"""
        return not self.is_stopped and all(e.replicas.is_as_wanted for e in self._engines.values())

    # What the owner does

    def look_again(self) -> None:  # something that a decision sees has changed
        self._tell(lambda: None)

    async def _own(self) -> None:
        while True:
            try:
                await self._step()
            except Exception:  # one bug of ours must not leave all engines without an owner
                log.exception("the fleet stumbled and goes on")
                await asyncio.sleep(_STUMBLE_S)

    async def _step(self) -> None:
        now = time.monotonic()
        views, room = [e.view() for e in self._engines.values()], self.memory.room
        for action in decide(views, now, room, self._turns, self._sleeping):
            self.act(action)
        self.is_short = is_short(views, room)
        until = next_time(views, now, room, self._turns, self._sleeping)
        await self._inbox.hear(until)

    def act(self, action: Action) -> None:
        """Begin it."""
        managed = self._engines[action.key]
        match action:
            case Leave():
                managed.leave()
            case Stay():
                managed.stay()
            case Displace():
                managed.is_displaced = True
                self._begin(managed, "stopping", self._retire(managed))
            case Refuse():
                managed.refuse()
            case Fetch():
                self._begin(managed, "fetching", self._fetch(managed))
            case Start(devices=devices):
                managed.devices = devices
                managed.turn_wait_s += time.monotonic() - managed.fetched_at
                self._begin(managed, "starting", self._load(managed))
            case Sleep(level=level):
                managed.sleep.goes_to_sleep(level)
                managed.is_displaced = True
                self._begin(managed, "falling_asleep", self._sleepers.fall_asleep(managed, action))
            case Wake():
                managed.sleep.at = None
                self._begin(managed, "waking", self._sleepers.wake(managed))
            case Stop(why=why):
                managed.unloads[why] += 1
                if not managed.is_broken:
                    managed.displace()
                self._begin(managed, "stopping", self._retire(managed))

    def _begin(self, managed: ManagedEngine, state: State, work: Coroutine[Any, Any, None]) -> None:
        if managed.task is not None:  # ended, or the watch of a broken engine
            managed.task.cancel()
        managed.is_fetched = False
        managed.close()
        managed.become(state, managed.reason if state == "stopping" else None)
        managed.task = asyncio.create_task(work, name=f"{state} {managed.spec.key}")

    def _loaded(self, managed: ManagedEngine, engine: Engine) -> None:
        managed.loads += 1
        managed.sleep.loaded(engine)
        self.became_ready(managed, engine)

    def became_ready(self, managed: ManagedEngine, engine: Engine) -> None:
        """It serves, after its load or its sleep."""
        managed.become("ready")
        managed.is_replacement = managed.is_displaced = False
        managed.called_at = None
        managed.running = running = Running(engine, time.monotonic())
        managed.task = asyncio.create_task(
            self._watch(managed, running), name=f"watch {managed.spec.key}"
        )
        managed.wake()
        self._on_ready()

    def broke(self, managed: ManagedEngine, running: Running, reason: str) -> None:
        """Marked at once, so that the very next request waits for the replacement."""
        if running not in (managed.running, managed.leaving):
            return
        has_broken(managed, running, reason, self._backoff)
        self.look_again()

    # What runs beside the owner, and tells it how it went

    async def _fetch(self, managed: ManagedEngine) -> None:
        failure = await self._steps.build(managed)
        if failure is None:
            self._tell(managed.was_fetched)
        else:
            self._tell(lambda: load_has_failed(managed, failure, self._backoff))

    async def _load(self, managed: ManagedEngine) -> None:
        engine = managed.engine
        assert engine is not None
        failure = await self._steps.start(managed, engine)
        if failure is None:
            self._tell(lambda: self._loaded(managed, engine))
            return
        await self._steps.stop(managed, self._replace_timeout_s)
        self._tell(lambda: load_has_failed(managed, failure, self._backoff))

    async def _watch(self, managed: ManagedEngine, running: Running) -> None:
        reason = await end_of(running.engine, self._check_interval_s, self._check_timeout_s)
        self.broke(managed, running, reason)

    async def _retire(self, managed: ManagedEngine) -> None:
        await self._steps.stop(managed, self._replace_timeout_s)
        self._tell(managed.is_over)
