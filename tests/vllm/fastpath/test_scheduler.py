"""Tokens of a real vLLM under load: merged where they are made, none lost, none added."""

import asyncio
import time

import pytest

from engines.base import Delta
from engines.vllm.engine import VllmEngine
from engines.vllm.fastpath.token_batching import FEW_STREAMS
from tests.support.engine_fixtures import answer, ask, on

pytestmark = [pytest.mark.anyio, on("vllm-tiny")]
MANY, TOKENS, FEW = 4 * FEW_STREAMS, 60, 20


async def answers(engine: VllmEngine, count: int, tokens: int = TOKENS) -> list[list[Delta]]:
    requests = [ask(f"Say {number}", max_tokens=tokens, ignore_eos=True) for number in range(count)]
    return await asyncio.gather(*(answer(engine, request) for request in requests))


def largest(deltas: list[Delta]) -> int:
    return max(d.token_count for d in deltas[1:-1])


async def test_a_lone_stream_gets_each_token_by_itself(engine: VllmEngine) -> None:
    """On a busy machine a reader that comes late finds two tokens: there it takes more attempts."""
    counts: list[list[int]] = []
    async with asyncio.timeout(120):
        while [1] * FEW not in counts:
            [deltas] = await answers(engine, 1, FEW)
            counts.append([d.token_count for d in deltas])
            assert sum(counts[-1]) == FEW


async def test_a_first_token_never_waits_for_a_second_one(engine: VllmEngine) -> None:
    """Also among many. A reader that comes late finds two, as above."""
    firsts: list[set[int]] = []
    async with asyncio.timeout(120):
        while {1} not in firsts:
            found = await answers(engine, MANY, FEW)
            firsts.append({deltas[0].token_count for deltas in found})


async def test_many_streams_get_groups_with_the_same_text_and_count(engine: VllmEngine) -> None:
    before = engine.generated_tokens
    found = await answers(engine, MANY)
    assert all(sum(d.token_count for d in deltas) == TOKENS for deltas in found)
    assert all(largest(deltas) > 1 for deltas in found)
    assert engine.generated_tokens - before == MANY * TOKENS
    alone = await answer(engine, ask("Say 3", max_tokens=TOKENS, ignore_eos=True))
    assert "".join(d.text for d in alone) == "".join(d.text for d in found[3])


async def test_a_whole_answer_tells_when_its_first_token_came(engine: VllmEngine) -> None:
    request = ask("Say it", max_tokens=TOKENS, ignore_eos=True, stream=False)
    began = time.monotonic()
    [delta] = await answer(engine, request)
    took_s = time.monotonic() - began
    assert delta.token_count == TOKENS
    assert took_s / 2 < delta.gathered_s < took_s
