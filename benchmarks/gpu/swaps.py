"""Two models that take turns on one card, again and again: nothing may leak, nothing change."""

import asyncio
import statistics
from typing import Any

from benchmarks.gpu.setting import Failed, Setting, Steps
from benchmarks.gpu.sleeping import sleeper, started
from benchmarks.gpu.subjects import answer

SWAPS, REHEARSED_SWAPS = 50, 6
LEAK_MIB = 256
"""The card may have so much more taken after the last swap than after the second."""


def swaps(setting: Setting) -> None:
    """One sleeps while the other starts; fifty times one sleeps and the other wakes; both wake
    and answer side by side."""
    asyncio.run(_swaps(setting))


async def _swaps(setting: Setting) -> None:
    steps = Steps(setting)
    first, second = sleeper(setting, "first"), sleeper(setting, "second")
    try:
        await steps.take("first starts", started(setting, first))
        said = await steps.take("first answers", answer(first))
        await steps.take("first sleeps", first.sleep(1))
        await steps.take("second starts while first sleeps", started(setting, second))
        await steps.take("second answers", answer(second))
        used = await _take_turns(setting, steps, [second, first], said)
        await steps.take("both are awake", asyncio.gather(first.wake(), second.wake()))
        both = await steps.take(
            "both answer side by side", asyncio.gather(answer(first), answer(second))
        )
    finally:
        await asyncio.gather(first.stop(), second.stop())
    if set(both) != {said}:
        raise Failed("side by side they answer otherwise than alone")
    if not setting.rehearse and used[-1] > used[1] + LEAK_MIB:
        raise Failed(f"{used[-1] - used[1]} MiB more are taken after {len(used)} swaps")


async def _take_turns(setting: Setting, steps: Steps, engines: list[Any], said: str) -> list[int]:
    """The memory after each swap, in MiB. The first of `engines` is awake, then each in turn."""
    used: list[int] = []
    for number in range(REHEARSED_SWAPS if setting.rehearse else SWAPS):
        awake, asleep = engines[number % 2], engines[(number + 1) % 2]
        await steps.take("one sleeps", awake.sleep(1))
        await steps.take("the other wakes", asleep.wake())
        if await steps.take("it answers", answer(asleep)) != said:
            raise Failed(f"the answer after swap {number + 1} is another one")
        used.append(setting.used_mib())
        setting.note({"used_mib_after_each_swap": used, **_seconds(steps)})
    return used


def _seconds(steps: Steps) -> dict[str, float]:
    """Medians of the two halves of a swap."""
    halves = {"one sleeps": "sleep_s", "the other wakes": "wake_s"}
    return {
        name: statistics.median(each["s"] for each in steps.taken if each["step"] == step)
        for step, name in halves.items()
    }
