"""Sleep: it waits for what runs, gives the card back, and wakes to the same words."""

import asyncio
from typing import Any

from benchmarks.gpu.setting import Failed, Setting, Steps
from benchmarks.gpu.subjects import answer, engine_of

LONG_TOKENS = 400
KEPT = 0.35
"""A sleeping engine keeps at most this part of what it had of the card."""


def sleep(setting: Setting) -> None:
    """Level 1, then level 2, each with a request that runs when the order comes."""
    asyncio.run(_sleep(setting))


async def _sleep(setting: Setting) -> None:
    steps, before = Steps(setting), setting.used_mib()
    engine = sleeper(setting, "sleep")
    try:
        await steps.take("starts", started(setting, engine))
        for level in (1, 2):
            await _one_level(setting, steps, engine, level, before)
    finally:
        await engine.stop()


async def _one_level(setting: Setting, steps: Steps, engine: Any, level: int, before: int) -> None:
    said = await steps.take(f"answers before level {level}", answer(engine))
    runs = asyncio.create_task(answer(engine, 7, LONG_TOKENS))
    while not engine._running:  # noqa: ASYNC110 - it is submitted in a thread
        await asyncio.sleep(0.001)
    await steps.take(f"sleeps at level {level}, once what runs has ended", engine.sleep(level))
    if not runs.done():
        raise Failed(f"it slept at level {level} beside a running request")
    await runs  # raises where it was cut
    await steps.take(f"is asked whether it lives at level {level}", engine.check(30))
    await steps.take(f"wakes from level {level}", engine.wake())
    if await steps.take(f"answers after level {level}", answer(engine)) != said:
        raise Failed(f"its greedy answer is another one after level {level}")
    if not setting.rehearse:
        gives_back(steps, level, before)


def gives_back(steps: Steps, level: int, before: int) -> None:
    """Raises Failed where too much of the card stays taken while it sleeps."""
    had = steps.used_mib(f"answers before level {level}") - before
    kept = steps.used_mib(f"sleeps at level {level}, once what runs has ended") - before
    if kept > had * KEPT:
        raise Failed(f"it keeps {kept} of its {had} MiB at level {level}")


def sleeper(setting: Setting, name: str) -> Any:
    """An engine that can sleep. vLLM's CPU build refuses the mode, and has its calls."""
    mode = {} if setting.rehearse else {"enable_sleep_mode": True}
    return engine_of(setting, name, enable_prefix_caching=False, **mode)


async def started(setting: Setting, engine: Any) -> None:
    await engine.start()
    if setting.rehearse:
        engine._llm.model_config.enable_sleep_mode = True
