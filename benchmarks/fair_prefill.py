"""First tokens of short requests, and a running stream's gaps, beside one client's long prompts: in
llama.cpp's own order (a prompt is one call, steps of 512 tokens), and by turns. Alternating, in one
process, on the same engine arguments.

    python -m benchmarks.fair_prefill [--rounds 2] [--long-tokens 2200] [--json FILE]
"""

import argparse
import asyncio
import itertools
import json
import os
import random
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks.machine import surroundings
from engines.base import Delta, GenerateRequest, Prompt, Sampling
from engines.llamacpp.admission import SlotQueue
from engines.llamacpp.engine import LlamacppEngine
from engines.registry.spec import EngineSpec
from engines.weights.packaged_model import gguf_path

CLIENTS = 8
SHORT_TOKENS = 32
LONG_PROMPTS = 2
"""A client's, one after another, each round."""
ANSWER_TOKENS = 4
NAMES = itertools.count()
Result: TypeAlias = dict[str, Any]


@dataclass
class Seen:
    """Of one order; all seconds."""

    short_first_s: list[float] = field(default_factory=list)
    long_first_s: list[float] = field(default_factory=list)
    long_alone_first_s: list[float] = field(default_factory=list)
    stream_gaps_s: list[float] = field(default_factory=list)
    """The largest of each round."""


@asynccontextmanager
async def started(by_turns: bool) -> AsyncIterator[LlamacppEngine]:
    args: dict[str, Any] = {} if by_turns else {"n_batch": 512}
    engine = LlamacppEngine(EngineSpec(kind="llamacpp", source="embedded", args=args), gguf_path())
    await engine.start()
    if not by_turns:  # no prompt is longer than half of such a step
        running = engine._running
        assert running is not None
        running.model.step_tokens = sys.maxsize
        running.slots = SlotQueue(running.model)
    await first_token_s(engine, 64)
    yield engine
    await engine.stop()


def deltas(engine: LlamacppEngine, prompt_tokens: int, tokens: int) -> Any:
    """Of a greedy answer; no two prompts begin alike."""
    name = next(NAMES)
    draw = random.Random(name)
    ids = tuple(draw.randrange(1000, 40_000) for _ in range(prompt_tokens))
    sampling = Sampling(max_tokens=tokens, temperature=0.0, ignore_eos=True)
    request = GenerateRequest(request_id=str(name), prompt=ids, sampling=sampling)
    return engine.generate(request, Prompt(token_ids=ids))


async def first_token_s(engine: LlamacppEngine, prompt_tokens: int) -> float:
    begin, first = time.perf_counter(), 0.0
    async for _ in deltas(engine, prompt_tokens, ANSWER_TOKENS):
        first = first or time.perf_counter() - begin
    return first


async def largest_gap_s(engine: LlamacppEngine, is_over: asyncio.Event) -> float:
    """Of a stream that runs until it is over."""
    gap, before = 0.0, None
    answer: Any = deltas(engine, SHORT_TOKENS, 3000)
    async with aclosing(answer):
        delta: Delta
        async for delta in answer:
            now = time.perf_counter()
            gap, before = max(gap, now - (before or now)), now
            if is_over.is_set() or delta.finish_reason:
                return gap
    return gap


async def short_requests(
    engine: LlamacppEngine, period_s: float, is_over: asyncio.Event
) -> list[float]:
    """Each client's at fixed times, however long the others take: the same work in both orders."""
    asked = []
    while not is_over.is_set():
        asked.append(asyncio.create_task(first_token_s(engine, SHORT_TOKENS)))
        await asyncio.sleep(period_s / CLIENTS)
    return list(await asyncio.gather(*asked))


async def measure(by_turns: bool, seen: Seen, long_tokens: int, period_s: float) -> None:
    async with started(by_turns) as engine:
        seen.long_alone_first_s.append(await first_token_s(engine, long_tokens))
        is_over = asyncio.Event()
        gap = asyncio.create_task(largest_gap_s(engine, is_over))
        short = asyncio.create_task(short_requests(engine, period_s, is_over))
        for _ in range(LONG_PROMPTS):
            seen.long_first_s.append(await first_token_s(engine, long_tokens))
        is_over.set()
        seen.short_first_s += await short
        seen.stream_gaps_s.append(await gap)


def summary(seen: Seen, long_tokens: int) -> dict[str, Any]:
    short = sorted(seen.short_first_s)
    at_95 = statistics.quantiles(short, n=20, method="inclusive")[-1]
    return {
        "short_requests": len(short),
        "short_first_p50_s": round(statistics.median(short), 2),
        "short_first_p95_s": round(at_95, 2),
        "short_first_max_s": round(short[-1], 2),
        "long_first_mean_s": round(statistics.mean(seen.long_first_s), 2),
        "long_prompt_tokens_per_s": round(long_tokens / statistics.mean(seen.long_first_s), 1),
        "long_alone_first_mean_s": round(statistics.mean(seen.long_alone_first_s), 2),
        "stream_largest_gap_s": round(max(seen.stream_gaps_s), 2),
    }


async def main(
    rounds: int, long_tokens: int, period_s: float, keep: Callable[[Result], None]
) -> None:
    """A run that is cut has written what it measured."""
    seen = {"own order": Seen(), "by turns": Seen()}
    surrounding = surroundings()
    for number in range(rounds):
        for name in list(seen)[:: 1 if number % 2 == 0 else -1]:
            await measure(name == "by turns", seen[name], long_tokens, period_s)
            print(f"round {number + 1}, {name}: {summary(seen[name], long_tokens)}", flush=True)
            measured = {key: one for key, one in seen.items() if one.short_first_s}
            result: Result = {
                **surrounding,
                "load_after": round(os.getloadavg()[0], 2),
                "long_tokens": long_tokens,
                "short_tokens": SHORT_TOKENS,
                "clients": CLIENTS,
                "period_s": period_s,
                "summary": {key: summary(one, long_tokens) for key, one in measured.items()},
                "seen": {key: asdict(one) for key, one in measured.items()},
            }
            keep(result)


def write(result: Result, path: Path | None) -> None:
    if path is not None:
        path.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--long-tokens", type=int, default=2200)
    parser.add_argument("--period", type=float, default=20.0, help="s between a client's requests")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    keep = partial(write, path=options.json)
    asyncio.run(main(options.rounds, options.long_tokens, options.period, keep))
