"""What is done to one engine: built, started, stopped. Each step is bounded and never raises."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import TypeAlias

from engines.base import Engine, EngineError, EngineUnavailable
from engines.fleet.engine_state import ManagedEngine
from engines.fleet.start_limit import StartLimit
from engines.registry.spec import EngineSpec

Build: TypeAlias = Callable[[EngineSpec], Awaitable[Engine] | Engine]
"""Makes an engine that is not started yet. May take long (weights are fetched) when awaited;
raises EngineUnavailable with the reason in words."""

log = logging.getLogger("fjord.fleet")


class EngineSteps:
    """`build` and `start` return why they failed, in words; None: they did not."""

    def __init__(
        self, build: Build, limit: StartLimit, weights_bytes: Callable[[EngineSpec], int]
    ) -> None:
        self._build = build
        self._limit = limit
        self._weights_bytes = weights_bytes

    async def build(self, managed: ManagedEngine) -> str | None:
        return await _reason(managed, self._built(managed))

    async def start(self, managed: ManagedEngine, engine: Engine) -> str | None:
        return await _reason(managed, self._started(managed.spec, engine))

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

    async def _started(self, spec: EngineSpec, engine: Engine) -> None:
        limit_s = self._limit.seconds(self._weights_bytes(spec))
        try:
            async with asyncio.timeout(limit_s) as limit:
                await engine.start()
        except TimeoutError:
            if not limit.expired():
                raise
            raise EngineUnavailable(f"its start took longer than {limit_s:g} s") from None


async def _reason(managed: ManagedEngine, step: Awaitable[None]) -> str | None:
    try:
        await step
    except EngineError as error:
        return str(error)
    except Exception as error:  # a bug; its text may hold paths or secrets, so it stays here
        log.exception("engine %s failed to start", managed.spec.key)
        return f"its engine raised {type(error).__name__}; the server's log says more"
    return None
