"""What an engine takes of the card, and that it is free again after its stop."""

import asyncio
import time
from dataclasses import asdict
from typing import Any

from benchmarks.gpu.setting import Failed, Setting, Steps
from benchmarks.gpu.subjects import answer, engine_of

LEFT_MIB = 256


def memory(setting: Setting) -> None:
    """Started and stopped twice: what the first stop leaves, the second start shows."""
    before = setting.used_mib()
    steps = Steps(setting)
    for number in (1, 2):
        pids = asyncio.run(_start_and_stop(setting, steps))
        after = _settled(setting, before)
        setting.note({"before_mib": before, f"after_{number}_mib": after, "pids": pids})
        if pids:
            raise Failed(f"processes are left after the stop: {pids}")
        # In a rehearsal this process itself has grown: what it imported stays.
        if not setting.rehearse and after > before + LEFT_MIB:
            raise Failed(f"{after - before} MiB of the card's memory are not free after the stop")


async def _start_and_stop(setting: Setting, steps: Steps) -> list[int]:
    """The processes that are left of it."""
    engine = engine_of(setting, "memory")
    try:
        await steps.take("starts", engine.start())
        setting.note({"told": [asdict(device) for device in engine.memory_in_use()]})
        await steps.take("answers", answer(engine))
    finally:
        await steps.take("stops", engine.stop())
    pids: list[int] = engine.pids
    return pids


def _settled(setting: Setting, before: int) -> int:
    """The driver frees a dead process' memory a moment later."""
    ends = time.monotonic() + (0 if setting.rehearse else 10)
    while (used := setting.used_mib()) > before + 16 and time.monotonic() < ends:
        time.sleep(0.2)
    return used


def told_kv_tokens(engine: Any) -> int:
    """How many tokens its cache holds, by what its workers say."""
    [device, *_] = engine.memory_in_use()
    return int(device.kv_bytes // device.token_bytes)
