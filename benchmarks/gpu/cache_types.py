"""A KV cache in 8 bits: twice the tokens in the same bytes, and answers all the same."""

import asyncio

from benchmarks.gpu.memory import told_kv_tokens
from benchmarks.gpu.setting import Failed, Setting, Steps
from benchmarks.gpu.subjects import alike, answer, pace, running

ANSWERS = 8
TWICE = 1.9


def cache_types(setting: Setting) -> None:
    """`kv_cache_dtype` as the model has it, then `fp8`."""
    asyncio.run(_cache_types(setting))


async def _cache_types(setting: Setting) -> None:
    steps, told, tokens = Steps(setting), [], []
    for kind in ("auto", "fp8"):
        async with running(setting, kind, kv_cache_dtype=kind) as engine:
            answers = [await answer(engine, number) for number in range(setting.of(ANSWERS))]
            speed = await steps.take(f"{kind}: many streams", pace(engine, setting.of(32), 64))
            told.append(answers)
            tokens.append(told_kv_tokens(engine))
            setting.note({kind: {"cache_tokens": tokens[-1], **speed.as_json()}})
    setting.note({"answers_alike": alike(*told)})
    if tokens[1] < tokens[0] * TWICE:
        raise Failed(f"the cache holds {tokens[1]} tokens in 8 bits, {tokens[0]} before")
