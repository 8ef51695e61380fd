"""CUDA graphs: what they take of a start and of memory, and what they give each token."""

import asyncio
import time

from benchmarks.gpu.setting import Setting, Steps
from benchmarks.gpu.subjects import alike, answer, pace, running

ANSWERS = 4


def graphs(setting: Setting) -> None:
    """`enforce_eager` on and off. In a rehearsal there are none, and compiling is left out."""
    asyncio.run(_graphs(setting))


async def _graphs(setting: Setting) -> None:
    steps, told = Steps(setting), []
    compiled = {"compilation_config": {"mode": 0}} if setting.rehearse else {}
    for name, args in (
        ("eager", {"enforce_eager": True}),
        ("graphs", {"enforce_eager": False, **compiled}),
    ):
        began = time.monotonic()
        async with running(setting, name, **args) as engine:
            ready_s = round(time.monotonic() - began, 1)
            told.append([await answer(engine, number) for number in range(setting.of(ANSWERS))])
            one = await steps.take(f"{name}: 1 stream", pace(engine, 1, 128))
            many = await steps.take(f"{name}: many streams", pace(engine, setting.of(64), 128))
            paces = {"1": one.as_json(), "many": many.as_json()}
            setting.note({name: {"ready_s": ready_s, "used_mib": setting.used_mib(), **paces}})
    setting.note({"answers_alike": alike(*told)})
