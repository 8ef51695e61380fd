"""What every engine must hold, whatever makes its tokens: the Engine protocol, one suite on all."""

import asyncio
import contextlib
import json
from typing import Any

import jsonschema
import pytest

from engines.base import (
    FOUND,
    ContextLengthExceeded,
    Delta,
    Engine,
    Reasoning,
    Structure,
    Tool,
)
from tests.support.engine_fixtures import (
    CASES,
    EngineCase,
    answer,
    ask,
    count,
    ends,
    on,
    parsed,
    text,
    until,
    without_stall,
)

pytestmark = [pytest.mark.anyio, on(*(case.name for case in CASES))]

FOREVER: dict[str, Any] = {"max_tokens": 3000, "ignore_eos": True}
WEATHER = Tool(
    name="get_weather",
    description="The weather in a city",
    parameters={
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 12}, "days": {"enum": [1, 2, 3]}},
        "required": ["city", "days"],
        "additionalProperties": False,
    },
)


def generated(engine: Engine) -> int:
    tokens: int = engine.generated_tokens  # type: ignore[attr-defined]
    return tokens


async def test_a_whole_answer_is_the_fold_of_the_stream(engine: Engine) -> None:
    streamed = await answer(engine, ask())
    whole = await answer(engine, ask(stream=False))
    assert len(whole) == 1
    assert (text(whole), count(whole), ends(whole)) == (
        text(streamed),
        count(streamed),
        ends(streamed),
    )


async def test_a_sink_and_the_iterator_together_read_each_delta_once_in_order(
    engine: Engine,
) -> None:
    plain = await answer(engine, ask(max_tokens=16, ignore_eos=True))
    reader = Reader()
    request = ask(max_tokens=16, ignore_eos=True)
    async for delta in engine.generate(request, await engine.render(request), reader):
        reader.is_reading = True
        reader.deltas.append(delta)
        await asyncio.sleep(0.01)  # what comes meanwhile may not overtake this one
        reader.is_reading = False
    assert (text(reader.deltas), count(reader.deltas)) == (text(plain), count(plain))
    assert not any(d.finish_reason for d in reader.taken)
    assert all(delta is not reader.deltas[0] for delta in reader.taken)


class Reader:
    """A Sink that is often not ready."""

    def __init__(self) -> None:
        self.deltas: list[Delta] = []
        self.taken: list[Delta] = []
        self.is_reading = False
        self.asked = 0

    def is_ready(self) -> bool:
        self.asked += 1
        return bool(self.deltas) and not self.is_reading and self.asked % 3 != 0

    def take(self, delta: Delta) -> None:
        assert not self.is_reading
        self.deltas.append(delta)
        self.taken.append(delta)


async def test_a_real_model_knows_the_capital(engine: Engine, engine_case: EngineCase) -> None:
    if not engine_case.talks:
        pytest.skip("says nothing that means anything")
    assert "Oslo" in text(await answer(engine, ask()))


@pytest.mark.parametrize("tokens", [1, 2, 17])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_max_tokens_is_exact(engine: Engine, tokens: int, stream: bool) -> None:
    deltas = await answer(engine, ask(max_tokens=tokens, ignore_eos=True, stream=stream))
    assert count(deltas) == tokens
    assert ends(deltas) == {0: ["length"]}


async def test_every_index_ends_once_and_choices_come_interleaved(engine: Engine) -> None:
    deltas = await answer(
        engine, ask(prompt="Once", n=3, max_tokens=9, ignore_eos=True, temperature=1.0)
    )
    assert ends(deltas) == {i: ["length"] for i in range(3)}
    assert [count(deltas, i) for i in range(3)] == [9, 9, 9]
    first_end = next(i for i, d in enumerate(deltas) if d.finish_reason)
    assert {d.index for d in deltas[:first_end]} == {0, 1, 2}


async def test_the_finish_reason_is_the_last_delta_of_its_index(engine: Engine) -> None:
    deltas = await answer(engine, ask(n=2, max_tokens=9))
    for index in (0, 1):
        own = [d for d in deltas if d.index == index]
        assert [d.finish_reason is not None for d in own] == [False] * (len(own) - 1) + [True]


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_a_seed_gives_the_same_text_again(engine: Engine, stream: bool) -> None:
    def once() -> Any:
        drawn = ask(prompt="Once", seed=11, n=2, temperature=1.0, max_tokens=10, stream=stream)
        return answer(engine, drawn)

    first, second = await once(), await once()
    assert [text(first, i) for i in (0, 1)] == [text(second, i) for i in (0, 1)]


async def test_a_stop_string_is_never_in_the_text(engine: Engine) -> None:
    whole = text(await answer(engine, ask(max_tokens=12)))
    stop = whole[3:6]
    deltas = await answer(engine, ask(max_tokens=12, stop=(stop,)))
    assert text(deltas) == whole[: whole.index(stop)]
    assert ends(deltas) == {0: ["stop"]}


async def test_an_aborted_stream_ends_by_itself_with_all_its_tokens(engine: Engine) -> None:
    before = generated(engine)
    deltas = await asyncio.wait_for(until(engine, ask(**FOREVER), tokens=5), 60)
    assert ends(deltas) == {0: ["abort"]}
    assert 5 <= count(deltas) < 3000
    assert generated(engine) - before == count(deltas)


async def test_an_aborted_request_with_choices_ends_every_index(engine: Engine) -> None:
    deltas = await asyncio.wait_for(until(engine, ask(prompt="Once", n=3, **FOREVER), tokens=9), 60)
    assert ends(deltas) == {i: ["abort"] for i in range(3)}


async def test_an_aborted_whole_answer_gives_what_there_is(engine: Engine) -> None:
    request = ask(stream=False, **FOREVER)
    running = asyncio.ensure_future(answer(engine, request))
    await answer(engine, ask(max_tokens=10, ignore_eos=True))
    await engine.abort(request.request_id)
    deltas = await asyncio.wait_for(running, 60)
    assert ends(deltas) == {0: ["abort"]}
    assert 0 < count(deltas) < 3000


async def test_aborting_what_nobody_knows_does_nothing(engine: Engine) -> None:
    await engine.abort("never-heard-of")


async def test_closing_a_stream_early_frees_the_engine(engine: Engine) -> None:
    requests = [ask(prompt="Once", **FOREVER) for _ in range(40)]
    for request in requests:
        stream = engine.generate(request, await engine.render(request))
        await anext(stream)
        await stream.aclose()
    assert count(await asyncio.wait_for(answer(engine, ask(max_tokens=3)), 60)) <= 3


@pytest.mark.parametrize(
    "is_crowd", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["few", "crowd"]
)
async def test_many_requests_with_aborts_count_what_the_engine_counts(
    engine: Engine, engine_case: EngineCase, is_crowd: bool
) -> None:
    before, number = generated(engine), engine_case.crowd if is_crowd else 9
    lengths = [1 + i % 23 for i in range(number)]
    work = [
        until(engine, ask(prompt=f"Count to {i}", **FOREVER), tokens=length)
        if i % 3 == 0
        else answer(engine, ask(prompt=f"Count to {i}", max_tokens=length, stream=i % 3 == 1))
        for i, length in enumerate(lengths)
    ]
    answers: list[list[Delta]] = await asyncio.wait_for(asyncio.gather(*work), 240)
    assert sum(map(count, answers)) == generated(engine) - before
    for i, deltas in enumerate(answers):
        [[reason]] = ends(deltas).values()
        assert reason == "abort" if i % 3 == 0 else reason in ("stop", "length")


async def test_a_living_engine_answers_its_check(engine: Engine) -> None:
    await engine.check(10.0)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_a_stop_string_is_the_texts_end_where_it_is_wanted(
    engine: Engine, stream: bool
) -> None:
    whole = text(await answer(engine, ask(max_tokens=12)))
    given: dict[str, Any] = {"stop": (whole[3:6],), "includes_stop_string": True}
    deltas = await answer(engine, ask(max_tokens=12, stream=stream, tells_stop=True, **given))
    assert deltas[-1].stop == whole[3:6]
    assert text(deltas) == whole[: whole.index(whole[3:6]) + 3]
    assert ends(deltas) == {0: ["stop"]}


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_a_stop_string_counts_in_the_answer_alone(
    engine: Engine, engine_case: EngineCase, stream: bool
) -> None:
    if not engine_case.talks:
        pytest.skip("its thoughts are not part of its text, or say nothing")
    whole = text(await answer(engine, ask()))
    at = whole.index(" of ")
    thoughts = Reasoning(start="<none>", end=" of ", opened_by="template")
    stop = next(letter for letter in whole[:at] if letter in whole[at + 4 :])
    deltas = await answer(engine, ask(stop=(stop,), reasoning=thoughts, stream=stream))
    assert "".join(delta.reasoning for delta in deltas) == whole[:at]
    answered = whole[at + 4 :].replace(" of ", "")  # a mark of the thinking is never shown
    assert text(deltas) == answered[: answered.index(stop)]
    assert ends(deltas) == {0: ["stop"]}
    assert count(deltas) <= 24


async def test_an_answer_is_gone_on_with(engine: Engine, engine_case: EngineCase) -> None:
    begun = [
        {"role": "user", "content": "What is the capital of Norway?"},
        {"role": "assistant", "content": "The capital of Norway is"},
    ]
    inside, behind, before = [
        await engine.render(ask(messages=begun, prompt_end=end))
        for end in ("inside_message", "message", "answer")
    ]
    if engine_case.talks:
        assert inside.token_count < behind.token_count < before.token_count
        assert list(behind.token_ids[: inside.token_count]) == list(inside.token_ids)
        deltas = await answer(engine, ask(messages=begun, prompt_end="inside_message"))
        assert text(deltas).startswith(" Oslo")


async def test_system_messages_may_stand_anywhere(engine: Engine) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One"},
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Two"},
    ]
    assert (await engine.render(ask(messages=messages))).token_count > 0


async def test_a_prompt_may_be_text_or_token_ids(engine: Engine) -> None:
    prompt = await engine.render(ask(prompt="Once upon a time"))
    assert prompt.token_count > 0
    ids = await engine.render(ask(prompt=list(prompt.token_ids)))
    assert list(ids.token_ids) == list(prompt.token_ids)
    assert count([d async for d in engine.generate(ask(max_tokens=2), ids)]) <= 2


async def test_a_million_characters_are_counted_without_stalling_others(engine: Engine) -> None:
    """By its tokens, or by its characters where so many can be no prompt."""

    async def tokens(number: int) -> int:
        try:
            prompt = await engine.render(ask(f"{number} " + "word " * 200_000))
        except ContextLengthExceeded as error:
            return error.prompt_tokens
        return prompt.token_count

    assert await without_stall(tokens) > engine.context_tokens


async def test_every_token_has_a_log_probability_and_its_bytes(engine: Engine) -> None:
    deltas = await answer(engine, ask(max_tokens=12, logprobs=3))
    tokens = [token for delta in deltas for token in delta.logprobs]
    counted = count(deltas) - (1 if ends(deltas) == {0: ["stop"]} else 0)
    assert len(tokens) in (counted, count(deltas))
    assert all(token.logprob <= 0 and len(token.top) == 3 for token in tokens)
    said = b"".join(bytes(token.bytes) for token in tokens[:counted])
    assert said.decode("utf-8", "replace").startswith(text(deltas).rstrip("\ufffd"))


async def test_an_answer_fits_its_schema(engine: Engine) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"enum": ["Oslo", "Bergen"]}, "fine": {"type": "boolean"}},
        "required": ["city", "fine"],
        "additionalProperties": False,
    }
    deltas = await answer(
        engine, ask(structure=Structure(kind="json_schema", value=schema), max_tokens=200)
    )
    jsonschema.validate(parsed(deltas), schema)
    assert ends(deltas) == {0: ["stop"]}


async def test_a_choice_is_one_of_those_given(engine: Engine) -> None:
    wanted = Structure(kind="choice", value=("north", "south"))
    assert text(await answer(engine, ask(structure=wanted))) in ("north", "south")


@pytest.mark.parametrize("choice", ["required", "function:get_weather"])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("parser", ["hermes", FOUND])
async def test_a_forced_call_parses_and_fits(
    engine: Engine, parser: str, choice: str, stream: bool
) -> None:
    request = ask(
        tools=(WEATHER,),
        tool_choice=choice,
        tool_parser=parser,
        parallel_tool_calls=False,
        max_tokens=400,
        stream=stream,
    )
    deltas = await answer(engine, request)
    pieces = [piece for delta in deltas for piece in delta.tool_calls]
    assert {piece.index for piece in pieces} == {0}
    assert [(p.name, bool(p.id)) for p in pieces if p.name or p.id] == [("get_weather", True)]
    arguments = "".join(piece.arguments for piece in pieces)
    jsonschema.validate(json.loads(arguments), dict(WEATHER.parameters))
    assert text(deltas) == ""
    assert ends(deltas) == {0: ["tool_calls"]}


async def test_tools_without_a_parser_have_no_effect(engine: Engine) -> None:
    plain = await answer(engine, ask())
    with_tools = await answer(engine, ask(tools=(WEATHER,), tool_choice="required"))
    assert text(with_tools) == text(plain)
    assert not any(delta.tool_calls for delta in with_tools)


async def test_reasoning_without_a_mark_leaves_the_answer_alone(engine: Engine) -> None:
    plain = await answer(engine, ask())
    split = await answer(engine, ask(reasoning=Reasoning(opened_by="model")))
    assert text(split) == text(plain)
    assert count(split) == count(plain)


async def test_streams_side_by_side_do_not_wait_for_each_other(engine: Engine) -> None:
    long = asyncio.ensure_future(until(engine, ask(**FOREVER), tokens=2900))
    await asyncio.wait_for(answer(engine, ask(max_tokens=5)), 60)
    assert not long.done()
    long.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await long
