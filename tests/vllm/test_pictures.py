"""Pictures on vLLM: a tiny Idefics3 (SmolVLM's family) of random weights reads them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from engines.base import Engine, InvalidRequest, Structure
from engines.content import Picture
from engines.registry.spec import EngineSpec, ModelSpec, Price
from engines.testing.tiny_vision import TILE, TILE_TOKENS
from tests.support.engine_fixtures import (
    Lent,
    answer,
    ask,
    count,
    ends,
    in_a_thread,
    on,
    text,
    until,
)
from tests.support.pictures import image_part, picture, user
from tests.support.seeing import first_logprob, prompt_tokens, seen, words
from tests.support.serving import Served, read_records, serving_here

pytestmark = [pytest.mark.anyio, on("vllm-idefics3")]
RED, BLUE = picture((TILE, TILE), "red"), picture((TILE, TILE), "blue")
MARKED = TILE_TOKENS + 2
"""Tokens of a tile: with the mark before it, and what says which it is."""
SQUARE, WIDE = 5 * MARKED + 2 + 2, 3 * MARKED + 1 + 2
"""Two tiles a row with a line's end behind each, one more, the whole of it, a last mark."""


def text_tokens(*said: str) -> int:
    """Of the template around them: three marks and two words, two line ends more."""
    return len("".join(said)) + len("user\n") + len("\n") + len("assistant\n") + 3


async def test_what_a_picture_costs_is_what_the_model_reads(engine: Engine) -> None:
    assert await prompt_tokens(engine, seen("a", RED, "b")) == text_tokens("ab") + SQUARE
    wide = picture((2 * TILE, TILE), "red")
    assert await prompt_tokens(engine, seen(wide)) == text_tokens() + WIDE
    assert await prompt_tokens(engine, seen(RED, BLUE)) == text_tokens() + 2 * SQUARE
    assert await prompt_tokens(engine, seen("plain")) == text_tokens("plain")


async def test_the_answer_depends_on_what_is_seen(engine: Engine) -> None:
    told = [words(await answer(engine, seen("What?", each, max_tokens=24))) for each in (RED, BLUE)]
    assert told[0] != told[1]
    again = words(await answer(engine, seen("What?", RED, max_tokens=24)))
    assert again == told[0], "greedy"


async def test_order_counts(engine: Engine) -> None:
    both = [seen("x", RED, "y", BLUE), seen("x", BLUE, "y", RED)]
    told = [words(await answer(engine, each)) for each in both]
    assert told[0] != told[1]


async def test_the_cache_keeps_pictures_apart(engine: Engine) -> None:
    """The same text and the same token ids before it: only the picture differs."""
    long = "z" * 300
    first = await answer(engine, seen(RED, long))
    other = await answer(engine, seen(BLUE, long))
    again = await answer(engine, seen(RED, long))
    assert again[0].cached_tokens > 0
    assert other[0].cached_tokens == 0
    assert first_logprob(first) == pytest.approx(first_logprob(again), abs=0.05)
    assert first_logprob(first) != pytest.approx(first_logprob(other), abs=0.05)


async def test_streamed_whole_and_beside_text(engine: Engine) -> None:
    alone = words(await answer(engine, seen("Say", RED)))
    asked = [
        seen("Say", RED),
        seen("Say", RED, stream=False),
        seen("Say", BLUE),
        seen("A text"),
        seen("A text", stream=False),
    ]
    told = [words(d) for d in await asyncio.gather(*(answer(engine, each) for each in asked))]
    assert told[0] == told[1] == alone
    assert told[3] == told[4]
    assert told[2] != alone


async def test_an_aborted_one_is_counted_to_its_end(engine: Engine) -> None:
    request = seen("Go on", RED, max_tokens=400, ignore_eos=True)
    before = engine.generated_tokens  # type: ignore[attr-defined]
    deltas = await until(engine, request, 5)
    assert ends(deltas) == {0: ["abort"]}
    assert 5 <= count(deltas) < 400
    assert engine.generated_tokens - before == count(deltas)  # type: ignore[attr-defined]


async def test_a_form_beside_a_picture(engine: Engine) -> None:
    form = Structure(kind="choice", value=("Oslo", "Bergen"))
    for stream in (True, False):
        deltas = await answer(engine, seen("Where?", RED, structure=form, stream=stream))
        assert text(deltas) in ("Oslo", "Bergen")


async def test_rendered_and_not_generated_leaves_nothing_amiss(engine: Engine) -> None:
    """As a count of tokens does, or a context that does not suffice: vLLM's own cache of processed
    pictures would take them for known, and its engine die of it."""
    green = picture((TILE, TILE), "green")
    counted = await prompt_tokens(engine, seen("How?", green))
    deltas = await answer(engine, seen("How?", green))
    assert (count(deltas) > 0, counted) == (True, text_tokens("How?") + SQUARE)


@pytest.mark.parametrize("mark", ["<image>", "<fake_token_around_image>", "<row_1_col_1>"])
async def test_marks_in_a_text_harm_nobody(engine: Engine, mark: str) -> None:
    """A text that writes the model's marks is answered or refused; the engine lives."""
    for request in (ask(f"a {mark} b"), seen(f"a {mark} b", RED)):
        with contextlib.suppress(InvalidRequest):
            await answer(engine, request)
    await engine.check(30)
    assert count(await answer(engine, seen("Still", RED))) > 0


async def test_one_small_picture(engine: Engine) -> None:
    for size in ((1, 1), (1, 300), (300, 1)):
        tiny = Picture(picture(size), *size)
        part = {"type": "picture", "picture": tiny}
        request = ask(messages=[{"role": "user", "content": [part]}])
        assert count(await answer(engine, request)) > 0


@pytest.fixture(scope="module")
async def served(
    engine: Engine, anyio_backend: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Served]:
    spec = EngineSpec(kind="vllm", source="idefics3", images=4)
    limits: dict[str, Any] = {"context_tokens": 1024, "output_tokens": 256}
    price = Price(input=4_000_000, cached_input=1_000_000, output=12_000_000)
    model = ModelSpec(alias="sees", engine=spec, images=4, price=price, **limits)

    def build(spec: EngineSpec) -> Engine:
        return Lent(engine)

    async with serving_here(tmp_path_factory.mktemp("data"), model, build=build) as server:
        yield server


@pytest.fixture
def sdk(served: Served) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{served.url}/v1", api_key=served.key, max_retries=0)


@in_a_thread
def test_openais_client_shows_a_picture(sdk: openai.OpenAI, served: Served) -> None:
    ask: dict[str, Any] = {
        "model": "sees",
        "messages": user("What is it?", image_part(RED)),
        "max_tokens": 16,
        "temperature": 0,
    }
    whole = sdk.chat.completions.create(**ask)
    assert whole.usage is not None
    assert whole.usage.prompt_tokens == text_tokens("What is it?") + SQUARE
    chunks = list(
        sdk.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True})
    )
    streamed = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert streamed == whole.choices[0].message.content
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.prompt_tokens == whole.usage.prompt_tokens
    record = read_records(served.data_dir)[-1]
    assert record["prompt_tokens"] == whole.usage.prompt_tokens
    assert record["completion_tokens"] == chunks[-1].usage.completion_tokens


@in_a_thread
def test_texts_go_the_fast_way_and_pictures_the_public_one(
    sdk: openai.OpenAI, engine: Engine
) -> None:
    """On an engine that reads pictures, too."""

    def fast_tokens(*said: Any) -> int:
        before = engine._fast_path.tokens  # type: ignore[attr-defined]
        messages: Any = user(*said)
        asked = {"model": "sees", "messages": messages, "max_tokens": 32}
        told = sdk.chat.completions.create(**asked, stream=True, extra_body={"ignore_eos": True})
        assert len(list(told)) > 1
        return int(engine._fast_path.tokens - before)  # type: ignore[attr-defined]

    assert fast_tokens("Say") > 0
    assert fast_tokens("Say", image_part(RED)) == 0
    assert fast_tokens("Say") > 0


@in_a_thread
def test_openais_client_shows_one_in_a_response(sdk: openai.OpenAI) -> None:
    url = image_part(RED)["image_url"]["url"]
    parts: Any = [
        {"type": "input_text", "text": "What is it?"},
        {"type": "input_image", "image_url": url, "detail": "auto"},
    ]
    told = sdk.responses.create(
        model="sees", input=[{"role": "user", "content": parts}], max_output_tokens=16
    )
    assert told.usage is not None
    assert told.usage.input_tokens == text_tokens("What is it?") + SQUARE


@in_a_thread
def test_a_context_that_pictures_fill(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.chat.completions.create(
            model="sees",
            messages=user("x" * 950, image_part(RED), image_part(BLUE)),  # type: ignore[arg-type]
        )
    assert refused.value.code == "CONTEXT_LENGTH_EXCEEDED"


@in_a_thread
def test_a_count_is_what_is_billed(sdk: openai.OpenAI, served: Served) -> None:
    import httpx

    messages = user("One", image_part(RED), "two")
    body = {"model": "sees", "messages": messages}
    counted = httpx.post(f"{served.url}/v1/tokenize", json=body, headers=served.headers).json()
    assert counted["count"] == text_tokens("Onetwo") + SQUARE
