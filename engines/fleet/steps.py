"""What is done to one engine: built, started, stopped. Each step is bounded and never raises."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from inspect import isawaitable
from typing import TypeAlias

from engines.base import Engine, EngineBroken, EngineError, EngineNeverFits, EngineUnavailable
from engines.fleet.engine_state import ManagedEngine
from engines.fleet.node_memory import NodeMemory
from engines.fleet.start_limit import StartLimit
from engines.fleet.waiting import Waits, waiting_of
from engines.registry.spec import EngineSpec

Build: TypeAlias = Callable[[EngineSpec], Awaitable[Engine] | Engine]
"""Makes an engine that is not started yet. May take long (weights are fetched) when awaited;
raises EngineUnavailable with the reason in words."""


_UNSTARTED_S = 10.0
"""To stop an engine that was not started."""

log = logging.getLogger("fjord.fleet")


@dataclass(frozen=True, slots=True)
class StepFailure:
    """Why a step failed, in words. `is_final`: it would fail again, however often it is tried."""

    reason: str
    is_final: bool = False
    refusal: str | None = None
    """The reason, where it is fit for clients too."""


class EngineSteps:
    """`build` and `start` return why they failed; None: they did not."""

    def __init__(
        self,
        build: Build,
        limit: StartLimit,
        weights_bytes: Callable[[EngineSpec], int],
        memory: NodeMemory,
    ) -> None:
        self._build = build
        self._limit = limit
        self._weights_bytes = weights_bytes
        self._memory = memory

    async def build(self, managed: ManagedEngine) -> StepFailure | None:
        failure = await failure_of(managed, self._built(managed))
        if failure is None and isinstance(managed.engine, Waits):
            failure = await self._waited(managed, managed.engine)
        if failure is None:
            await self._memory.look(managed)
            managed.sleep.weights_bytes = self._host_weights_bytes(managed)
        return failure

    def _host_weights_bytes(self, managed: ManagedEngine) -> int:
        """As they are on its cards; as they are on the disk, where that is not planned."""
        planned = managed.need.weights_bytes if managed.need is not None else 0
        return planned or self._weights_bytes(managed.spec)

    async def start(self, managed: ManagedEngine, engine: Engine) -> StepFailure | None:
        await self._memory.placed(managed, engine)
        began = time.monotonic()
        start = within(self._limit_s(managed), engine.start(), "its start")
        failed = await failure_of(managed, start)
        failure = _with_waiting(failed, engine)
        managed.load_s = time.monotonic() - began
        if failure is None:
            await self._memory.measure(managed, engine)
        return failure

    def _limit_s(self, managed: ManagedEngine) -> float:
        return managed.start_timeout_s or self._limit.seconds(self._weights_bytes(managed.spec))

    async def _waited(self, managed: ManagedEngine, engine: Waits) -> StepFailure | None:
        """As long as a start may take; it holds no memory meanwhile."""
        waiting = within(self._limit_s(managed), engine.others_here(), "its wait for others")
        failure = _with_waiting(await failure_of(managed, waiting), engine)
        if failure is not None:
            await self.stop(managed, _UNSTARTED_S)
        return failure

    async def stop(self, managed: ManagedEngine, timeout_s: float) -> None:
        """Never hangs: whatever an engine does at its end, the fleet goes on."""
        if managed.engine is None:
            return
        try:
            async with asyncio.timeout(timeout_s):
                await managed.engine.stop()
        except TimeoutError:
            log.error("engine %s did not stop in %g s", managed.spec.key, timeout_s)
        except Exception:
            log.exception("engine %s failed to stop", managed.spec.key)
        managed.engine = None  # not in a finally: a stop that is cut short is done again

    async def _built(self, managed: ManagedEngine) -> None:
        built = self._build(managed.spec)
        managed.engine = await built if isawaitable(built) else built


async def within(limit_s: float, step: Awaitable[None], what: str) -> None:
    """Raises EngineUnavailable where it takes longer."""
    try:
        async with asyncio.timeout(limit_s) as limit:
            await step
    except TimeoutError:
        if not limit.expired():
            raise
        raise EngineUnavailable(f"{what} took longer than {limit_s:g} s") from None


async def failure_of(managed: ManagedEngine, step: Awaitable[None]) -> StepFailure | None:
    """Why a step failed; None: it did not."""
    try:
        await step
    except EngineError as error:
        refusal = str(error) if isinstance(error, EngineNeverFits) else None
        return StepFailure(str(error), isinstance(error, EngineBroken), refusal)
    except Exception as error:  # a bug; its text may hold paths or secrets, so it stays here
        log.exception("engine %s failed", managed.spec.key)
        return StepFailure(f"its engine raised {type(error).__name__}; the server's log says more")
    return None


def _with_waiting(failure: StepFailure | None, engine: Engine | Waits) -> StepFailure | None:
    """A failure, and what the start still waited for then."""
    waits = waiting_of(engine)
    if failure is None or waits is None:
        return failure
    return replace(failure, reason=f"{failure.reason}: it {waits}")
