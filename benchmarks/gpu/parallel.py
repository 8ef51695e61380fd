"""Two cards as one: tensor parallelism, under the fast path and without it."""

import asyncio
import os

from benchmarks.gpu.setting import Failed, Setting, Skipped, Steps
from benchmarks.gpu.subjects import alike, answer, pace, running
from benchmarks.machine import gpus

ANSWERS = 6


def parallel(setting: Setting) -> None:
    """One process, then two; in a rehearsal two on the machine's cores."""
    if not setting.rehearse and len(gpus()) < 2:
        raise Skipped("needs two cards, and nvidia-smi names one")
    if setting.rehearse:
        # Else vLLM gives each worker a NUMA node of its own, and a small machine has one.
        os.environ["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
    asyncio.run(_parallel(setting))


async def _parallel(setting: Setting) -> None:
    steps, told = Steps(setting), []
    ways = {
        "alone": {},
        "two": {"tensor_parallel_size": 2},
        "two, fast path off": {"tensor_parallel_size": 2, "fastpath": False},
    }
    for name, args in ways.items():
        async with running(setting, name, **args) as engine:
            told.append([await answer(engine, number) for number in range(setting.of(ANSWERS))])
            speed = await steps.take(f"{name}: many streams", pace(engine, setting.of(32), 64))
            setting.note({name: speed.as_json()})
    setting.note({"alike_alone_and_two": alike(told[0], told[1])})
    if told[1] != told[2]:
        raise Failed("two cards answer otherwise with the fast path than without it")
