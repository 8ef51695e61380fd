"""A real vLLM tells an operator what its scheduler does, on the fast path and without it."""

import asyncio
from collections.abc import Callable

import pytest

from engines.base import Engine
from engines.stats import EngineStats, HasStats
from engines.vllm.engine import VllmEngine
from tests.support.engine_fixtures import answer, ask, on
from tests.support.engine_fixtures import until as read_until

pytestmark = [pytest.mark.anyio, on("vllm-tiny", "vllm-tiny-public")]
LONG = "Tell of fjords. " * 40


async def told(engine: Engine, holds: Callable[[EngineStats], bool]) -> EngineStats:
    """Its figures, once they are so."""
    assert isinstance(engine, HasStats)
    async with asyncio.timeout(20):
        while (stats := engine.stats()) is None or not holds(stats):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        return stats


async def test_what_runs_and_what_it_holds_is_told_while_it_runs(engine: VllmEngine) -> None:
    requests = [ask(LONG + str(number), max_tokens=3000, ignore_eos=True) for number in range(3)]
    streams = [asyncio.ensure_future(read_until(engine, each, 2900)) for each in requests]
    try:
        stats = await told(engine, lambda s: s.running_requests == 3)
        assert 0 < stats.kv_cache_usage <= 1
        assert stats.waiting_requests == 0
    finally:
        for request in requests:
            await engine.abort(request.request_id)
        await asyncio.gather(*streams)
    idle = await told(engine, lambda s: s.running_requests == 0)
    assert idle.kv_cache_usage == 0


async def test_prompts_found_in_the_cache_are_counted(engine: VllmEngine) -> None:
    await answer(engine, ask(LONG, max_tokens=2, ignore_eos=True))
    before = await told(engine, lambda s: s.running_requests == 0)
    deltas = await answer(engine, ask(LONG, max_tokens=2, ignore_eos=True))
    cached = sum(delta.cached_tokens for delta in deltas)
    assert cached > 0
    after = await told(engine, lambda s: s.prefix_query_tokens > before.prefix_query_tokens)
    assert after.prefix_hit_tokens - before.prefix_hit_tokens == cached


async def test_the_short_way_is_taken_all_the_same(engine: VllmEngine) -> None:
    is_fast = engine._spec.args.get("fastpath", True)
    assert (engine._fast_path is not None) == is_fast
