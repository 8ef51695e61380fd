"""The end of all engines, whatever they are doing."""

import asyncio
from collections.abc import Sequence

from engines.fleet.engine_state import ManagedEngine
from engines.fleet.steps import EngineSteps


async def end_all(
    engines: Sequence[ManagedEngine],
    owner: asyncio.Task[None] | None,
    steps: EngineSteps,
    timeout_s: float,
) -> None:
    """Ends within `timeout_s` + 1; who waits for an engine is woken. `owner`: the fleet's task."""
    for managed in engines:
        managed.wake()
    tasks = [task for task in (owner, *(managed.task for managed in engines)) if task]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*(_end(managed, steps, timeout_s) for managed in engines))
    if tasks:  # a second is for one that does not heed its cancellation
        await asyncio.wait(tasks, timeout=1.0)


async def _end(managed: ManagedEngine, steps: EngineSteps, timeout_s: float) -> None:
    managed.close()
    if managed.engine is None:
        return
    managed.become("stopping")
    await steps.stop(managed, timeout_s)
    managed.become("cold")
