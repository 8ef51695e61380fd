"""Answers of the llama.cpp engine on the real SmolLM2-135M."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import psutil
import pytest

from engines.base import (
    ContextLengthExceeded,
    Engine,
    EngineHung,
    GenerateRequest,
    InvalidRequest,
    Reasoning,
    Sampling,
    Structure,
)
from engines.llamacpp.liveness import Liveness
from engines.weights.packaged_model import gguf_path
from tests.support.engine_fixtures import answer, ask, count, llamacpp_engine, text

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def engine(anyio_backend: str) -> AsyncIterator[Engine]:
    engine = llamacpp_engine(gguf_path(), n_ctx=2048, n_parallel=8)
    await engine.start()
    yield engine
    await engine.stop()


async def test_a_greedy_answer_is_right_and_its_end_token_is_counted(engine: Engine) -> None:
    deltas = await answer(engine, ask())
    assert text(deltas) == "The capital of Norway is Oslo."
    assert deltas[-1].finish_reason == "stop"
    assert count(deltas) == 8


async def test_a_whole_answer_comes_in_fewer_deltas_with_the_same_count(engine: Engine) -> None:
    whole = await answer(engine, ask(stream=False))
    assert len(whole) == 1
    assert (text(whole), count(whole)) == ("The capital of Norway is Oslo.", 8)


async def test_every_choice_ends_once_and_seeds_repeat(engine: Engine) -> None:
    first = await answer(engine, ask(n=3, seed=7, temperature=1.0, max_tokens=9))
    again = await answer(engine, ask(n=3, seed=7, temperature=1.0, max_tokens=9))
    ends = [d.index for d in first if d.finish_reason]
    assert sorted(ends) == [0, 1, 2]
    texts = [text(first, i) for i in range(3)]
    assert texts == [text(again, i) for i in range(3)]
    assert len(set(texts)) == 3


@pytest.mark.parametrize("stop", ["Oslo", "Norway is", " of Nor"])
async def test_a_stop_string_is_no_part_of_the_text(engine: Engine, stop: str) -> None:
    deltas = await answer(engine, ask(stop=(stop,)))
    whole = "The capital of Norway is Oslo."
    assert text(deltas) == whole[: whole.index(stop)]
    assert deltas[-1].finish_reason == "stop"


async def test_logprobs_spell_the_text_and_rank_alternatives(engine: Engine) -> None:
    deltas = await answer(engine, ask(logprobs=3, max_tokens=6))
    entries = [entry for d in deltas for entry in d.logprobs]
    assert len(entries) == count(deltas) == 6
    assert bytes(b for e in entries for b in e.bytes).decode() == text(deltas)
    for entry in entries:
        assert len(entry.top) == 3
        assert entry.top[0].logprob == entry.logprob  # greedy takes the likeliest
        assert list(entry.top) == sorted(entry.top, key=lambda t: -t.logprob)


async def test_an_aborted_stream_ends_by_itself_with_an_exact_count(engine: Engine) -> None:
    request = ask("Tell a long story.", max_tokens=400, ignore_eos=True)
    prompt = await engine.render(request)
    deltas = []
    async for delta in engine.generate(request, prompt):
        deltas.append(delta)
        if len(deltas) == 3:
            await engine.abort(request.request_id)
    assert deltas[-1].finish_reason == "abort"
    said = await engine.render(
        GenerateRequest(request_id="count", prompt=text(deltas), sampling=Sampling(max_tokens=1))
    )
    assert count(deltas) == said.token_count


async def test_a_waiting_request_is_aborted_at_once(engine: Engine) -> None:
    wide = ask("Tell a story.", n=8, max_tokens=100, ignore_eos=True, temperature=1.0)
    late = ask("Hello")
    busy = asyncio.create_task(answer(engine, wide))
    waiting = asyncio.create_task(answer(engine, late))
    while not waiting.done():
        await engine.abort(late.request_id)
        await asyncio.wait({waiting}, timeout=0.01)
    [delta] = waiting.result()
    assert (delta.finish_reason, delta.token_count) == ("abort", 0)
    assert not busy.done()
    await engine.abort(wide.request_id)
    assert [d.finish_reason for d in (await busy) if d.finish_reason] == ["abort"] * 8


async def test_an_emoji_is_never_cut(engine: Engine) -> None:
    request = ask(
        max_tokens=80, structure=Structure(kind="choice", value=["👩‍👩‍👧 blåbærsyltetøy 你好 👍🏽"])
    )
    deltas = await answer(engine, request)
    assert text(deltas) == "👩‍👩‍👧 blåbærsyltetøy 你好 👍🏽"
    assert all("\ufffd" not in d.text for d in deltas)
    assert max(d.token_count for d in deltas) > 1  # tokens that end inside a character


@pytest.mark.parametrize(
    ("structure", "field"),
    [
        (Structure(kind="json_schema", value={"type": "nonsense"}), "response_format"),
        (Structure(kind="json_schema", value={"$ref": "#/nowhere"}), "response_format"),
        (Structure(kind="regex", value="[a-z"), "structured_outputs"),
        (Structure(kind="grammar", value='root ::= "a" | nope'), "structured_outputs"),
    ],
)
async def test_a_structure_that_cannot_be_compiled_is_refused_before_any_token(
    engine: Engine, structure: Structure, field: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await answer(engine, ask(structure=structure))
    assert caught.value.param == field


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("regex", r"^\d{4}/[a-c]+$", r"\d{4}/[a-c]+"),
        ("choice", ["Bergen", 'a "quote"'], r'Bergen|a "quote"'),
        ("grammar", 'root ::= "yes" | "no"', "yes|no"),
        ("grammar", 'start: "yes" | "no"', "yes|no"),
        ("json_object", None, r"\{[\s\S]*"),
    ],
)
async def test_an_answer_has_the_form_that_was_asked(
    engine: Engine, kind: Any, value: Any, expected: str
) -> None:
    import re

    deltas = await answer(engine, ask(structure=Structure(kind=kind, value=value), max_tokens=16))
    assert re.fullmatch(expected, text(deltas))


async def test_what_it_cannot_do_is_refused_with_the_field(engine: Engine) -> None:
    with pytest.raises(InvalidRequest, match="49151") as bias:
        await answer(engine, ask(logit_bias={60000: 1.0}))
    assert bias.value.param == "logit_bias"
    assert bias.value.provided == 60000
    assert str(bias.value.expected).startswith("token ids from 0 to ")
    with pytest.raises(ContextLengthExceeded) as long:
        await answer(engine, ask(max_tokens=3000))
    assert long.value.context_tokens == 2048
    with pytest.raises(InvalidRequest) as none:
        await engine.embed("e", ["hello"])
    assert none.value.param == "model"


async def test_logit_bias_forbids_a_token(engine: Engine) -> None:
    the = (await engine.render(prompt_request("The"))).token_ids[0]
    assert not text(await answer(engine, ask(logit_bias={the: -100.0}))).startswith("The")


async def test_old_prompts_in_the_cache_make_room_for_a_long_one(engine: Engine) -> None:
    for i in range(8):
        await answer(engine, ask(f"{i} " + "word " * 10, max_tokens=1))
    await asyncio.gather(
        *(answer(engine, ask(f"{i}", max_tokens=60, ignore_eos=True)) for i in range(8))
    )
    assert await answer(engine, ask("word " * 180, max_tokens=1600, stop=(" ",)))


async def test_check_answers_while_streaming_and_a_hang_is_told(engine: Engine) -> None:
    streaming = asyncio.create_task(answer(engine, ask("Story", max_tokens=20, ignore_eos=True)))
    await engine.check(5)
    await streaming
    hang = threading.Event()
    with pytest.raises(EngineHung):
        await Liveness(hang.wait).beat(0.01)
    hang.set()


async def test_cancelled_requests_leave_no_slot_and_no_thread(engine: Engine) -> None:
    async def leave(i: int) -> None:
        request = ask(f"Tell story {i}", max_tokens=200, ignore_eos=True)
        prompt = await engine.render(request)
        stream = engine.generate(request, prompt)
        async for _ in stream:
            break
        await stream.aclose()

    async def round_of_leaving() -> int:
        await asyncio.gather(*(leave(i) for i in range(32)))
        await asyncio.gather(*(answer(engine, ask()) for _ in range(8)))
        return psutil.Process().num_threads()

    warm = [await round_of_leaving() for _ in range(2)]
    later = [await round_of_leaving() for _ in range(3)]
    assert max(later) <= max(warm) + 4, "pools may still fill; a thread a request would be 120"


def prompt_request(prompt: str) -> GenerateRequest:
    return GenerateRequest(request_id="p", prompt=prompt, sampling=Sampling(max_tokens=1))


async def test_thinking_is_split_from_the_answer(engine: Engine) -> None:
    form = Structure(kind="regex", value="<think>[a-z ]{10,30}</think>[a-z]{4,9}")
    request = ask(structure=form, reasoning=Reasoning(), max_tokens=80)
    deltas = await answer(engine, request)
    thought = "".join(d.reasoning for d in deltas)
    assert 10 <= len(thought) <= 30
    assert 4 <= len(text(deltas)) <= 9
    assert "think>" not in thought + text(deltas)
    assert 0 < sum(d.reasoning_token_count for d in deltas) < count(deltas)


async def test_choices_that_share_no_call_still_end_each(engine: Engine) -> None:
    wide = ask(n=2, max_tokens=1500, stop=(".",), seed=3, temperature=1.0)  # 2 x 1500 > 2048
    deltas = await answer(engine, wide)
    assert sorted(d.index for d in deltas if d.finish_reason) == [0, 1]
    alone = await answer(engine, ask(max_tokens=1500, stop=(".",), seed=4, temperature=1.0))
    assert text(deltas, 1) == text(alone)
