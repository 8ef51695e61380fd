"""Which engines run: load, share, watch, restart, stop.

One task owns every state; requests, watchers and loaders only tell it what happened.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable
from types import TracebackType

from engines.base import Engine, EngineDead, EngineHung, EngineLoadTimeout, EngineUnavailable
from engines.fleet.decisions import Action, Backoff, Fetch, Start, Stop, decide, next_retry_at
from engines.fleet.engine_state import EngineStatus, ManagedEngine, Running, shared_engines
from engines.fleet.start_limit import StartLimit
from engines.fleet.steps import Build, EngineSteps
from engines.registry.spec import EngineSpec, ModelSpec

__all__ = ["Build", "EngineStatus", "Fleet", "Lease"]

log = logging.getLogger("fjord.fleet")

_STUMBLE_S = 0.2
"""A pause after an unexpected error, so that one that comes again does not fill the log."""


class Lease:
    """`async with fleet.lease(alias) as engine`: the engine is kept for the block's time.

    Entering costs no suspension while the engine is ready. An EngineDead or EngineHung that leaves
    the block is taken as news of the engine, and starts its replacement at once.
    """

    __slots__ = ("_alias", "_fleet", "_managed", "_running")

    def __init__(self, fleet: "Fleet", managed: ManagedEngine, alias: str) -> None:
        self._fleet, self._managed, self._alias = fleet, managed, alias
        self._running: Running | None = None

    async def __aenter__(self) -> Engine:
        running = self._managed.running or await self._fleet._wait(self._managed, self._alias)
        running.leases += 1
        self._running = running
        return running.engine

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        running = self._running
        if running is None:
            return
        running.leases -= 1
        if isinstance(error, EngineDead | EngineHung):
            self._fleet._broke(self._managed, running, str(error))


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
        backoff: Backoff | None = None,
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        """`check_timeout_s` is long because a CPU may spend seconds in one step of a long prompt.
        `stop_timeout_s` bounds the end of all engines in `stop`; `replace_timeout_s` that of one
        engine before the next one starts, since a killed process of eight cards takes a while to
        give their memory back. `weights_bytes` is asked once an engine is built."""
        self._load_timeout_s = load_timeout_s
        self._check_interval_s = check_interval_s
        self._check_timeout_s = check_timeout_s
        self._stop_timeout_s = stop_timeout_s
        self._replace_timeout_s = replace_timeout_s
        self._steps = EngineSteps(build, start_limit or StartLimit(), weights_bytes)
        self._backoff = backoff or Backoff()
        self._on_ready = on_ready
        self._engines = shared_engines(models)
        self._by_alias = {
            alias: managed for managed in self._engines.values() for alias in managed.aliases
        }
        self._inbox: asyncio.Queue[Callable[[], None]] = asyncio.Queue()
        self._owner: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None

    @property
    def _is_stopped(self) -> bool:
        return self._stopping is not None

    async def start(self) -> None:
        """Returns at once; preloads go on in the background, one after another."""
        if self._owner is None:
            self._owner = asyncio.create_task(self._own(), name="fleet")

    async def stop(self, timeout_s: float | None = None) -> None:
        """End every engine, whatever it is doing, within `timeout_s` (`stop_timeout_s`, unless it
        is told) + 1. A second call waits for what the first began."""
        if self._stopping is None:
            if timeout_s is not None:
                self._stop_timeout_s = timeout_s
            self._stopping = asyncio.create_task(self._stop(), name="fleet stops")
        await asyncio.shield(self._stopping)

    async def _stop(self) -> None:
        engines = self._engines.values()
        for managed in engines:
            managed.wake()
        tasks = [task for task in (self._owner, *(managed.task for managed in engines)) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*(self._end(managed) for managed in engines))
        if tasks:  # a second is for one that does not heed its cancellation
            await asyncio.wait(tasks, timeout=1.0)

    def lease(self, alias: str) -> Lease:
        """Raises KeyError for an unknown alias. Entering it raises EngineUnavailable, or
        EngineLoadTimeout, when the engine cannot serve; why, stands in the log and the status."""
        return Lease(self, self._by_alias[alias], alias)

    def statuses(self) -> list[EngineStatus]:
        return [managed.status() for managed in self._engines.values()]

    def is_ready(self) -> bool:
        """Does every preloaded alias serve?"""
        engines = self._engines.values()
        return not self._is_stopped and all(s.running is not None for s in engines if s.keep_ready)

    # What requests do

    async def _wait(self, managed: ManagedEngine, alias: str) -> Running:
        try:
            async with asyncio.timeout(self._load_timeout_s):
                while managed.running is None:
                    self._raise_if_refused(managed, alias)
                    await self._next_change(managed)
                return managed.running
        except TimeoutError:
            raise EngineLoadTimeout(
                f"Model {alias} did not become ready within {self._load_timeout_s:g} s; "
                f"its engine is {managed.state}."
            ) from None

    def _raise_if_refused(self, managed: ManagedEngine, alias: str) -> None:
        if self._is_stopped:
            raise EngineUnavailable("The server is shutting down.")
        wait_s = managed.retry_at - time.monotonic()
        if managed.state == "failed" and wait_s > 0:
            # Its reason may hold paths and a library's words: `become` has told the log.
            message = f"Model {alias} cannot be loaded now; the server's log says why."
            raise EngineUnavailable(message, wait_s)

    async def _next_change(self, managed: ManagedEngine) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        managed.waiters[waiter] = time.monotonic()
        self._tell(lambda: None)
        try:
            await waiter
        finally:
            managed.waiters.pop(waiter, None)

    # What the owner does

    def _tell(self, news: Callable[[], None]) -> None:
        self._inbox.put_nowait(news)

    async def _own(self) -> None:
        while True:
            try:
                await self._step()
            except Exception:  # one bug of ours must not leave all engines without an owner
                log.exception("the fleet stumbled and goes on")
                await asyncio.sleep(_STUMBLE_S)

    async def _step(self) -> None:
        now = time.monotonic()
        views = [managed.view() for managed in self._engines.values()]
        for action in decide(views, now):
            self._act(action)
        await self._hear(next_retry_at(views, now))

    async def _hear(self, until: float | None) -> None:
        """Take in what happened, at least one thing, unless the time `until` comes first."""
        timeout_s = None if until is None else max(0.0, until - time.monotonic())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                (await self._inbox.get())()
        while not self._inbox.empty():
            self._inbox.get_nowait()()

    def _act(self, action: Action) -> None:
        managed = self._engines[action.key]
        if managed.task is not None:  # ended, or the watch of a broken engine
            managed.task.cancel()
        match action:
            case Fetch():
                managed.become("fetching")
                work = self._fetch(managed)
            case Start():
                managed.is_fetched = False
                managed.become("starting")
                work = self._load(managed)
            case Stop():
                managed.become("stopping", managed.reason)
                work = self._retire(managed)
        managed.task = asyncio.create_task(work, name=f"{managed.state} {action.key}")

    def _became_ready(self, managed: ManagedEngine, engine: Engine) -> None:
        managed.become("ready")
        managed.is_replacement = False
        managed.running = running = Running(engine, time.monotonic())
        managed.task = asyncio.create_task(
            self._watch(managed, running), name=f"watch {managed.spec.key}"
        )
        managed.wake()
        self._on_ready()

    def _load_failed(self, managed: ManagedEngine, reason: str) -> None:
        self._count_failure(managed)
        managed.is_replacement = False
        managed.become("failed", reason)
        managed.wake()

    def _broke(self, managed: ManagedEngine, running: Running, reason: str) -> None:
        """Marked at once, so that the very next request waits for the replacement."""
        if managed.running is not running:
            return
        if time.monotonic() - running.ready_at >= self._backoff.forgiven_after_s:
            managed.failures = 0
        self._count_failure(managed)
        managed.restarts += 1
        managed.running, managed.is_broken, managed.reason = None, True, reason
        log.error("engine %s broke and is replaced: %s", managed.spec.key, reason)
        self._tell(lambda: None)

    def _is_gone(self, managed: ManagedEngine) -> None:
        managed.is_broken, managed.is_replacement = False, True
        managed.become("cold", managed.reason)

    def _count_failure(self, managed: ManagedEngine) -> None:
        managed.failures += 1
        managed.retry_at = time.monotonic() + self._backoff.delay_s(managed.failures)

    # What runs beside the owner, and tells it how it went

    async def _fetch(self, managed: ManagedEngine) -> None:
        reason = await self._steps.build(managed)
        if reason is None:
            self._tell(lambda: setattr(managed, "is_fetched", True))
        else:
            self._tell(lambda: self._load_failed(managed, reason))

    async def _load(self, managed: ManagedEngine) -> None:
        engine = managed.engine
        assert engine is not None
        reason = await self._steps.start(managed, engine)
        if reason is None:
            self._tell(lambda: self._became_ready(managed, engine))
            return
        await self._steps.stop(managed, self._replace_timeout_s)
        self._tell(lambda: self._load_failed(managed, reason))

    async def _watch(self, managed: ManagedEngine, running: Running) -> None:
        while True:
            await asyncio.sleep(self._check_interval_s)
            try:
                await running.engine.check(self._check_timeout_s)
            except Exception as error:
                self._broke(managed, running, str(error) or repr(error))
                return

    async def _retire(self, managed: ManagedEngine) -> None:
        await self._steps.stop(managed, self._replace_timeout_s)
        self._tell(lambda: self._is_gone(managed))

    async def _end(self, managed: ManagedEngine) -> None:
        managed.running = None
        if managed.engine is None:
            return
        managed.become("stopping")
        await self._steps.stop(managed, self._stop_timeout_s)
        managed.become("cold")
