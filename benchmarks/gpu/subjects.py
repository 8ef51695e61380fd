"""The engines that phases start, what they are asked, and how fast they answer."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.gpu.setting import GIB, Failed, Setting
from benchmarks.models import Model, make_model, make_prompt
from benchmarks.servers import engine_environment
from engines.base import Delta, GenerateRequest, Sampling
from engines.registry.spec import EngineSpec

TOKENS = 32
"""Of an answer that is compared."""


def wide(setting: Setting) -> Model:
    """A vocabulary of 151,936 and weights on disk: 2.6 GB on a card, 40 MB in a rehearsal."""
    return make_model("wide-tiny" if setting.rehearse else "wide", setting.folder)


def engine_of(setting: Setting, name: str, **args: Any) -> Any:
    """A VllmEngine of the wide model, not started. Small beside a card, so that several have
    room."""
    os.environ.update(engine_environment())
    from engines.vllm.engine import VllmEngine

    model = wide(setting)
    small = {
        "enforce_eager": True,
        "kv_cache_memory_bytes": GIB // 4 if setting.rehearse else 2 * GIB,
        "max_num_seqs": 64,
        "max_model_len": 4096,
    }
    # A rehearsal's memory is the machine's, of which vLLM wants a part whatever the cache takes.
    share = {} if setting.rehearse else {"gpu_memory_utilization": 0.4}
    spec = EngineSpec(
        kind="vllm", source=name, args={**model.engine_args, **small, **share, **args}
    )
    return VllmEngine(spec, str(model.folder))


@asynccontextmanager
async def running(setting: Setting, name: str, **args: Any) -> AsyncIterator[Any]:
    """It serves in the block, and is stopped after it."""
    engine = engine_of(setting, name, **args)
    try:
        await engine.start()
        yield engine
    finally:
        await engine.stop()


def request(number: int = 0, tokens: int = TOKENS, **fields: Any) -> GenerateRequest:
    """One of many, each with a prompt of its own; greedy."""
    sampling = Sampling(max_tokens=tokens, temperature=0.0, ignore_eos=True)
    return GenerateRequest(
        request_id=os.urandom(8).hex(),
        messages=[{"role": "user", "content": make_prompt(number, 32)}],
        sampling=fields.pop("sampling", sampling),
        **fields,
    )


async def deltas_of(engine: Any, asked: GenerateRequest, sink: Any = None) -> list[Delta]:
    prompt = await engine.render(asked)
    return [delta async for delta in engine.generate(asked, prompt, sink)]


async def answer(engine: Any, number: int = 0, tokens: int = TOKENS) -> str:
    """Raises Failed where it has another length than was asked for."""
    deltas = await deltas_of(engine, request(number, tokens))
    told = sum(delta.token_count for delta in deltas)
    if told != tokens:
        raise Failed(f"{tokens} tokens were asked for, and {told} came")
    return "".join(delta.text for delta in deltas)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast so many streams at once were."""

    streams: int
    tokens_per_s: float
    first_token_ms: float
    """The slowest stream's."""

    def as_json(self) -> dict[str, float]:
        return {
            "streams": self.streams,
            "tokens_per_s": round(self.tokens_per_s, 1),
            "first_token_ms": round(self.first_token_ms, 1),
        }


async def pace(engine: Any, streams: int, tokens: int, **fields: Any) -> Pace:
    """Of `streams` answers at once, each with a prompt of its own."""
    began = time.monotonic()
    asked = [request(1000 + number, tokens, **fields) for number in range(streams)]
    told = await asyncio.gather(*(_timed(engine, each, began) for each in asked))
    took_s = time.monotonic() - began
    return Pace(
        streams=streams,
        tokens_per_s=sum(count for count, _ in told) / took_s,
        first_token_ms=1000 * max(first for _, first in told),
    )


async def _timed(engine: Any, asked: GenerateRequest, began: float) -> tuple[int, float]:
    """(tokens, seconds to the first of them)."""
    prompt, count, first = await engine.render(asked), 0, 0.0
    async for delta in engine.generate(asked, prompt):
        count += delta.token_count
        first = first or time.monotonic() - began
    return count, first


def alike(one: Sequence[str], other: Sequence[str]) -> float:
    """The share of answers that are the same. On a card a batch of another shape may round
    otherwise, so that random weights draw another token; on a CPU in float32 it may not."""
    return sum(a == b for a, b in zip(one, other, strict=True)) / max(1, len(one))
