"""The fast path on this machine's vLLM: every part proves itself, and says what vLLM says."""

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.gpu.setting import Failed, Setting, Steps
from benchmarks.gpu.subjects import deltas_of, request, running
from engines.base import Delta

ANSWERS, STREAMS, TOKENS = 16, 64, 128


class Reading:
    """A sink that takes every delta at once, as the front's streams do."""

    def __init__(self) -> None:
        self.deltas: list[Delta] = []
        self._has_begun = False

    def is_ready(self) -> bool:
        return self._has_begun

    def take(self, delta: Delta) -> None:
        self.deltas.append(delta)

    def yielded(self, delta: Delta) -> None:
        self._has_begun = True
        self.deltas.append(delta)


def lanes(setting: Setting) -> None:
    """With the fast path and without it: which parts are left out, the answers, the front's CPU."""
    asyncio.run(_lanes(setting))


async def _lanes(setting: Setting) -> None:
    steps, told = Steps(setting), dict[bool, list[str]]()
    for is_fast in (True, False):
        name = "fast path" if is_fast else "vLLM's own way"
        with _warnings() as left_out:
            async with running(setting, "lanes", fastpath=is_fast) as engine:
                # One at a time: batches of the same shape round alike.
                told[is_fast] = await steps.take(f"{name}: answers", _answers(setting, engine))
                cpu = await steps.take(f"{name}: many streams", _front_us(setting, engine))
        setting.note({f"front_us_a_token, {name}": round(cpu, 1), f"left out, {name}": left_out})
        if left_out:
            raise Failed(f"parts are left out: {'; '.join(left_out)}")
    if told[True] != told[False]:
        raise Failed("the fast path's answers are other ones than vLLM's own way gives")


async def _answers(setting: Setting, engine: Any) -> list[str]:
    found = []
    for number in range(setting.of(ANSWERS)):
        sink = Reading()
        await _streamed(engine, number, 48, sink)
        found.append("".join(delta.text for delta in sink.deltas))
    return found


async def _streamed(engine: Any, number: int, tokens: int, sink: Reading) -> None:
    asked = request(number, tokens)
    prompt = await engine.render(asked)
    async for delta in engine.generate(asked, prompt, sink):
        sink.yielded(delta)
    told = sum(delta.token_count for delta in sink.deltas)
    if told != tokens:
        raise Failed(f"{tokens} tokens were asked for, and {told} came")


async def _front_us(setting: Setting, engine: Any) -> float:
    """This process' CPU time a token, with so many streams at once."""
    await deltas_of(engine, request(99))
    before, streams = time.process_time(), range(100, 100 + setting.of(STREAMS))
    await asyncio.gather(*(_streamed(engine, n, TOKENS, Reading()) for n in streams))
    return (time.process_time() - before) * 1e6 / (len(streams) * TOKENS)


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """What is said of parts that are left out."""
    found: list[str] = []

    class Keeps(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "left out" in record.getMessage():
                found.append(record.getMessage())

    log, handler = logging.getLogger("fjord.vllm"), Keeps()
    log.addHandler(handler)
    try:
        yield found
    finally:
        log.removeHandler(handler)
