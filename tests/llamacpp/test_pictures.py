"""Pictures on llama.cpp: a tiny Idefics3 (SmolVLM's family) of random weights reads them through
its projector."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest

from engines.base import Engine, EngineDead, EngineError, InvalidRequest, Prompt, Structure
from engines.content import Picture
from engines.llamacpp.engine import LlamacppEngine
from engines.llamacpp.picture_prompts import PICTURE_TOKEN
from engines.llamacpp.pictures import PicturePrompt
from engines.registry.spec import EngineSpec, ModelSpec, Price
from engines.testing.tiny_vision import TILE
from tests.support.conforming import conform, topic_of, unmet
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
from tests.support.seeing import prompt_tokens, seen, words
from tests.support.serving import Served, read_records, serving_here
from tests.support.tiny_eyes import PROJECTOR

pytestmark = [pytest.mark.anyio, on("llamacpp-idefics3")]
RED, BLUE = picture((TILE, TILE), "red"), picture((TILE, TILE), "blue")
SQUARE, WIDE = 33, 20
"""Tokens of a picture of two tiles a row and two rows, and of one row, with the whole of it."""


def text_tokens(*said: str) -> int:
    """Of the template around them: three marks and two words, two line ends more."""
    return len("".join(said)) + len("user\n") + len("\n") + len("assistant\n") + 3


async def test_what_a_picture_costs_is_what_the_model_reads(engine: Engine) -> None:
    assert await prompt_tokens(engine, seen("a", RED, "b")) == text_tokens("ab") + SQUARE
    wide = picture((2 * TILE, TILE), "red")
    assert await prompt_tokens(engine, seen(wide)) == text_tokens() + WIDE
    assert await prompt_tokens(engine, seen(RED, BLUE)) == text_tokens() + 2 * SQUARE
    assert await prompt_tokens(engine, seen("plain")) == text_tokens("plain")
    ids = (await engine.render(seen("a", RED, "b"))).token_ids
    assert ids.count(PICTURE_TOKEN) == SQUARE
    assert min(ids) == PICTURE_TOKEN


async def test_the_answer_depends_on_what_is_seen(engine: Engine) -> None:
    told = [words(await answer(engine, seen("What?", each, max_tokens=24))) for each in (RED, BLUE)]
    assert told[0] != told[1]
    again = words(await answer(engine, seen("What?", RED, max_tokens=24)))
    assert again == told[0], "greedy"


async def test_order_counts(engine: Engine) -> None:
    asked = [("x", RED, "y", BLUE), ("x", BLUE, "y", RED), ("y", RED, "x", BLUE)]
    fields = {"max_tokens": 24, "ignore_eos": True}
    told = [words(await answer(engine, seen(*each, **fields))) for each in asked]
    assert told[0] != told[1]
    assert told[0] != told[2]


async def test_the_cache_keeps_pictures_apart(engine: Engine) -> None:
    """The same text and as many tokens: only the picture differs."""
    long, common = "z" * 100, len("user\n") + 1
    first = await answer(engine, seen(RED, long))
    other = await answer(engine, seen(BLUE, long))
    again = await answer(engine, seen(RED, long))
    assert again[0].cached_tokens == text_tokens(long) + SQUARE - 1
    assert other[0].cached_tokens <= common, "what stands before the picture"
    assert words(first) == words(again)
    assert words(first) != words(other)
    seeded = await answer(engine, seen(RED, long, seed=1))
    assert seeded[0].cached_tokens == 0


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


async def test_more_than_the_cache_holds_at_once(engine: Engine) -> None:
    """Where a text finds no room llama.cpp forgets old prompts, where a picture finds none it
    fails: room is made before."""
    asked = [
        seen(f"{n}" * 9 * n, picture((TILE + n, TILE), "red"), RED, "?", ignore_eos=True)
        for n in range(24)
    ]
    texts = [ask("t" * 40 * n, max_tokens=12, ignore_eos=True) for n in range(12)]
    told = await asyncio.gather(*(answer(engine, each) for each in (*asked, *texts)))
    assert [count(deltas) for deltas in told] == [12] * 36


async def test_an_aborted_one_is_counted_to_its_end(engine: Engine) -> None:
    request = seen("Go on", RED, max_tokens=400, ignore_eos=True)
    before = engine.generated_tokens  # type: ignore[attr-defined]
    deltas = await until(engine, request, 5)
    assert ends(deltas) == {0: ["abort"]}
    assert 5 <= count(deltas) < 400
    assert engine.generated_tokens - before == count(deltas)  # type: ignore[attr-defined]


@pytest.mark.parametrize("fields", [{"n": 3, "temperature": 1.0, "seed": 4}, {"n": 2}])
async def test_choices_share_a_picture(engine: Engine, fields: dict[str, Any]) -> None:
    deltas = await answer(engine, seen("What?", RED, ignore_eos=True, **fields))
    assert [count(deltas, index) for index in range(fields["n"])] == [12] * fields["n"]


async def test_choices_that_share_no_call_read_it_each(engine: Engine) -> None:
    deltas = await answer(engine, seen("What?", RED, n=2, max_tokens=600, ignore_eos=True))
    assert [count(deltas, index) for index in range(2)] == [600, 600]


async def test_a_form_beside_a_picture(engine: Engine) -> None:
    form = Structure(kind="choice", value=("Oslo", "Bergen"))
    for stream in (True, False):
        deltas = await answer(engine, seen("Where?", RED, structure=form, stream=stream))
        assert text(deltas) in ("Oslo", "Bergen")


@pytest.mark.parametrize("mark", ["<image>", "<fake_token_around_image>", "<__media__>"])
async def test_marks_in_a_text_harm_nobody(engine: Engine, mark: str) -> None:
    for request in (ask(f"a {mark} b"), seen(f"a {mark} b", RED, "c")):
        assert count(await answer(engine, request)) > 0
    alone = await prompt_tokens(engine, seen(f"a {mark} b"))
    assert await prompt_tokens(engine, seen(f"a {mark} b", RED)) == alone + SQUARE


async def test_llamacpps_own_mark_in_a_text_is_refused(engine: LlamacppEngine) -> None:
    """Nobody knows it: it is drawn at each start."""
    reader = engine._running.model.pictures  # type: ignore[union-attr]
    assert reader is not None
    with pytest.raises(InvalidRequest, match="mark of a picture"):
        await engine.render(seen(reader._mark, RED, "x"))


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (16_384, 1), (1, 16_384), (63, 65)])
async def test_the_ends_of_sizes(engine: Engine, size: tuple[int, int]) -> None:
    assert count(await answer(engine, seen("x", picture(size), ignore_eos=True))) == 12


async def test_a_picture_that_was_not_looked_at(engine: Engine) -> None:
    """The engine does not rely on its caller: its own decoder reads the file, and llama.cpp's what
    that makes of it."""
    parts = [{"type": "picture", "picture": Picture(b"GIF89a", 10, 10)}, *_text("x")]
    with pytest.raises(InvalidRequest, match="A picture"):
        await answer(engine, ask(messages=[{"role": "user", "content": parts}]))
    await engine.check(30)
    assert count(await answer(engine, seen("Still", RED))) > 0


async def test_a_count_that_is_not_what_is_read_ends_the_request(engine: Engine) -> None:
    request = seen("x", RED, "y")
    prompt = await engine.render(request)
    read: PicturePrompt = prompt.rendered
    fewer = PicturePrompt(read.text, read.pictures, read.known_as[1:])
    with pytest.raises(EngineError, match="were counted"):
        _ = [
            delta
            async for delta in engine.generate(
                request, Prompt(token_ids=prompt.token_ids[1:], rendered=fewer)
            )
        ]
    assert count(await answer(engine, request)) > 0


def _text(said: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": said}]


@pytest.fixture(scope="module")
async def served(
    engine: Engine, anyio_backend: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Served]:
    spec = EngineSpec(kind="llamacpp", source="eyes", projector=PROJECTOR)
    limits: dict[str, Any] = {"context_tokens": 1024, "output_tokens": 256}
    price = Price(input=4_000_000, cached_input=1_000_000, output=12_000_000)
    caching: dict[str, Any] = {"price": price, "shares_prefix_cache": True}
    model = ModelSpec(alias="sees", engine=spec, images=4, **caching, **limits)
    blind = EngineSpec(kind="llamacpp", source="eyes")
    other = ModelSpec(alias="blind", engine=blind, images=4, **limits)

    def build(spec: EngineSpec) -> Engine:
        return Lent(engine)

    folder = tmp_path_factory.mktemp("data")
    async with serving_here(folder, model, other, build=build) as server:
        yield server


@pytest.fixture
def sdk(served: Served) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{served.url}/v1", api_key=served.key, max_retries=0)


@in_a_thread
def test_openais_client_shows_pictures(sdk: openai.OpenAI, served: Served) -> None:
    ask: dict[str, Any] = {
        "model": "sees",
        "messages": user("What is", image_part(RED), "and", image_part(BLUE), "?"),
        "max_tokens": 16,
        "temperature": 0,
    }
    whole = sdk.chat.completions.create(**ask)
    assert whole.usage is not None
    assert whole.usage.prompt_tokens == text_tokens("What isand?") + 2 * SQUARE
    chunks = list(
        sdk.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True})
    )
    streamed = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert streamed == whole.choices[0].message.content
    usage = chunks[-1].usage
    assert usage is not None
    assert usage.prompt_tokens == whole.usage.prompt_tokens
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == usage.prompt_tokens - 1
    record = read_records(served.data_dir)[-1]
    assert record["prompt_tokens"] == usage.prompt_tokens
    assert record["completion_tokens"] == usage.completion_tokens


@in_a_thread
def test_without_a_projector_it_reads_text_only(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="reads text only") as refused:
        sdk.chat.completions.create(model="blind", messages=user(image_part(RED)))  # type: ignore[arg-type]
    assert refused.value.param == "messages[0].content[0].type"


@in_a_thread
def test_a_context_that_pictures_fill(sdk: openai.OpenAI) -> None:
    said = user("x" * 900, *[image_part(RED)] * 4)
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.chat.completions.create(model="sees", messages=said)  # type: ignore[arg-type]
    assert refused.value.code == "CONTEXT_LENGTH_EXCEEDED"
    assert str(text_tokens("x" * 900) + 4 * SQUARE) in str(refused.value)


@in_a_thread
def test_a_count_is_what_is_billed(sdk: openai.OpenAI, served: Served) -> None:
    messages = user("One", image_part(RED), "two")
    body: dict[str, Any] = {"model": "sees", "messages": messages}
    counted = httpx.post(f"{served.url}/v1/tokenize", json=body, headers=served.headers).json()
    told = sdk.chat.completions.create(**body, max_tokens=1)
    assert told.usage is not None
    assert counted["count"] == told.usage.prompt_tokens == text_tokens("Onetwo") + SQUARE
    assert counted["tokens"].count(PICTURE_TOKEN) == SQUARE


@in_a_thread
def test_conforms_pictures(served: Served) -> None:
    results = conform(served, topics={"images"}, model="sees", vision_model="sees", timeout_s=60)
    assert {topic_of(each.check.id) for each in results} >= {"images"}
    assert unmet(results) == {}


async def test_one_that_is_killed_while_it_reads_a_picture(engine: LlamacppEngine) -> None:
    other = LlamacppEngine(engine.spec, engine.path)
    await other.start()
    try:
        request = seen("Go", RED, "on", max_tokens=900, ignore_eos=True)
        stream = other.generate(request, await other.render(request))
        await anext(stream)
        other._running.model.server.kill()  # type: ignore[union-attr]
        with pytest.raises(EngineDead):
            _ = [delta async for delta in stream]
        with pytest.raises(EngineDead):
            await other.render(request)
    finally:
        await other.stop()
