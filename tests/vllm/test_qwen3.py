"""Thinking on the real engine: a tiny random Qwen3 with Qwen3's own tokenizer and template.

It says nonsense, so a bias narrows what it draws from to the think marks and a few words: every
form of thinking then comes, in an order of its own.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest
from tokenizers import Tokenizer

from engines.base import Delta, Engine, Reasoning, Structure, Tool
from tests.support.engine_fixtures import answer, ask, count, ends, on, parsed, text
from tests.support.paths import QWEN3_TOKENIZER as FOLDER

OPEN, CLOSE = "<think>", "</think>"
WORDS = (" Oslo", " Norway", "\n\n")
BY_TEMPLATE, BY_MODEL = Reasoning(opened_by="template"), Reasoning(opened_by="model")
OFF = {"enable_thinking": False}
CITIES = {
    "type": "object",
    "properties": {"city": {"enum": ["Oslo", "Bergen"]}},
    "required": ["city"],
    "additionalProperties": False,
}
CITY = Tool(name="get_weather", description="The weather now.", parameters=CITIES)
FORM = Structure(kind="json_schema", value=CITIES)

pytestmark = [pytest.mark.anyio, on("vllm-qwen3", "vllm-qwen3-parser")]
by_anyone = pytest.mark.parametrize("reasoning", [BY_TEMPLATE, BY_MODEL], ids=lambda r: r.opened_by)
streamed_or_not = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(FOLDER / "tokenizer.json"))


@pytest.fixture(scope="module")
def only(tokenizer: Tokenizer) -> Callable[..., dict[int, float]]:
    """A bias under which only these are ever drawn, each of them one token."""

    def bias(*texts: str) -> dict[int, float]:
        ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
        assert [len(found) for found in ids] == [1] * len(ids)
        return {token_id: 60.0 for [token_id] in ids}

    return bias


def thought(deltas: list[Delta], index: int = 0) -> str:
    return "".join(d.reasoning for d in deltas if d.index == index)


def thinking_tokens(deltas: list[Delta], index: int = 0) -> int:
    return sum(d.reasoning_token_count for d in deltas if d.index == index)


def drawn(deltas: list[Delta], index: int) -> list[str]:
    return [token.token for d in deltas if d.index == index for token in d.logprobs]


def split(tokens: list[str], inside: bool) -> tuple[str, str, int]:
    """Reasoning, answer and reasoning tokens of what was drawn, the plainest way."""
    parts, thinking_tokens = {True: "", False: ""}, 0
    is_fresh = inside
    for token in tokens:
        is_mark = token in (OPEN, CLOSE)
        thinking_tokens += is_mark or inside
        if is_mark:
            inside, is_fresh = token == OPEN, True
        elif not (is_fresh and token == "\n\n"):
            parts[inside] += token
            is_fresh = False
    return parts[True], parts[False], thinking_tokens


async def test_thinking_turned_off_makes_everything_the_answer(
    engine: Engine, tokenizer: Tokenizer
) -> None:
    request = ask(reasoning=BY_TEMPLATE, chat_template_kwargs=OFF, ignore_eos=True)
    prompt = await engine.render(request)
    assert tokenizer.decode(prompt.token_ids, skip_special_tokens=False).endswith(
        f"assistant\n{OPEN}\n\n{CLOSE}\n\n"
    )
    deltas = await answer(engine, request)
    assert (thought(deltas), thinking_tokens(deltas), count(deltas)) == ("", 0, 24)
    assert text(deltas)


@streamed_or_not
async def test_marks_in_any_order_split_where_they_were_drawn(
    engine: Engine, only: Callable[..., dict[int, float]], stream: bool
) -> None:
    request = ask(
        reasoning=BY_TEMPLATE,
        logit_bias=only(OPEN, CLOSE, *WORDS),
        temperature=1.0,
        seed=1,
        n=8,
        max_tokens=60,
        ignore_eos=True,
        logprobs=0,
        stream=stream,
    )
    deltas = await answer(engine, request)
    for index in range(8):
        tokens = drawn(deltas, index)
        assert set(tokens) <= {OPEN, CLOSE, *WORDS}
        found = thought(deltas, index), text(deltas, index), thinking_tokens(deltas, index)
        assert found == split(tokens, inside=True)
        assert count(deltas, index) == len(tokens) == 60


@by_anyone
async def test_an_end_mark_again_and_again_is_never_text(
    engine: Engine, only: Callable[..., dict[int, float]], reasoning: Reasoning
) -> None:
    deltas = await answer(engine, ask(reasoning=reasoning, logit_bias=only(CLOSE)))
    assert (text(deltas), thought(deltas)) == ("", "")
    assert thinking_tokens(deltas) == count(deltas) == 24
    assert ends(deltas) == {0: ["length"]}


async def test_without_an_end_mark_all_is_reasoning(
    engine: Engine, only: Callable[..., dict[int, float]]
) -> None:
    request = ask(reasoning=BY_TEMPLATE, logit_bias=only(*WORDS[:2]), temperature=1.0, seed=1)
    deltas = await answer(engine, request)
    assert text(deltas) == ""
    assert {" Oslo", " Norway"} == {f" {word}" for word in thought(deltas).split()}
    assert thinking_tokens(deltas) == count(deltas) == 24
    assert ends(deltas) == {0: ["length"]}


async def test_a_mark_in_a_message_opens_and_closes_nothing(
    engine: Engine, only: Callable[..., dict[int, float]]
) -> None:
    request = ask(f"{OPEN} or {CLOSE}?", reasoning=BY_TEMPLATE, logit_bias=only(" Oslo"))
    assert set(thought(await answer(engine, request)).split()) == {"Oslo"}


@by_anyone
@streamed_or_not
async def test_a_form_begins_after_the_thinking(
    engine: Engine, only: Callable[..., dict[int, float]], reasoning: Reasoning, stream: bool
) -> None:
    marks = (CLOSE,) if reasoning is BY_TEMPLATE else (OPEN, CLOSE)
    request = ask(
        reasoning=reasoning,
        structure=FORM,
        logit_bias=only(*marks, *WORDS[:2]),
        temperature=1.0,
        seed=2,
        n=8,
        max_tokens=200,
        stream=stream,
    )
    deltas = await answer(engine, request)
    for index, reasons in ends(deltas).items():
        assert reasons == ["stop"]
        assert json.loads(text(deltas, index))["city"] in ("Oslo", "Bergen")
        assert 0 < thinking_tokens(deltas, index) < count(deltas, index)
    assert any(thought(deltas, index).strip() for index in range(8))


async def test_a_mark_spelled_by_other_tokens_ends_no_thinking_before_a_form(
    engine: Engine, only: Callable[..., dict[int, float]]
) -> None:
    spelled, rarely = only("</", "think", ">"), dict.fromkeys(only(CLOSE), 57.0)
    request = ask(
        reasoning=BY_TEMPLATE,
        structure=FORM,
        logit_bias=spelled | rarely,
        temperature=1.0,
        seed=3,
        n=8,
        max_tokens=1000,
    )
    deltas = await answer(engine, request)
    for index, reasons in ends(deltas).items():
        assert reasons == ["stop"]
        assert json.loads(text(deltas, index))["city"] in ("Oslo", "Bergen")
    assert any(CLOSE in thought(deltas, index) for index in range(8))


@by_anyone
async def test_a_form_begins_at_once_where_thinking_is_off(
    engine: Engine, reasoning: Reasoning
) -> None:
    request = ask(reasoning=reasoning, structure=FORM, chat_template_kwargs=OFF, max_tokens=60)
    deltas = await answer(engine, request)
    assert parsed(deltas)["city"] in ("Oslo", "Bergen")
    assert (thought(deltas), thinking_tokens(deltas)) == ("", 0)


@pytest.mark.parametrize("switches", [OFF, {}], ids=["at once", "after thinking"])
async def test_a_named_call_is_made(
    engine: Engine,
    tokenizer: Tokenizer,
    only: Callable[..., dict[int, float]],
    switches: dict[str, Any],
) -> None:
    request = ask(
        tools=(CITY,),
        tool_parser="hermes",
        tool_choice="function:get_weather",
        reasoning=BY_TEMPLATE,
        chat_template_kwargs=switches,
        logit_bias={} if switches else only(CLOSE, *WORDS[:2]),
        temperature=1.0,
        seed=1,
        max_tokens=200,
    )
    prompt = await engine.render(request)
    read = tokenizer.decode(prompt.token_ids, skip_special_tokens=False)
    assert '<tools>\n{"type": "function", "function": {"name": "get_weather"' in read
    deltas = await answer(engine, request)
    pieces = [piece for delta in deltas for piece in delta.tool_calls]
    assert [piece.name for piece in pieces if piece.name] == ["get_weather"]
    assert json.loads("".join(p.arguments for p in pieces))["city"] in ("Oslo", "Bergen")
    assert text(deltas) == ""
    assert bool(thinking_tokens(deltas)) == (not switches)
    assert ends(deltas) == {0: ["tool_calls"]}
