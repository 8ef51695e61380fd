"""How many calls an answer that must be calls may have, held by each engine's own grammar."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from engines.answers.forced_calls import MOST_CALLS, forced_schema
from engines.base import GenerateRequest, Sampling, Tool
from tests.support.grammar_matchers import llguidance_matcher, xgrammar_matcher

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = Tool(name="get_weather", parameters=CITY)
NOTHING = {"type": "object", "properties": {}}
NOW, TODAY = Tool(name="now", parameters=NOTHING), Tool(name="today", parameters=NOTHING)
ANYTHING = Tool(name="any", parameters={"type": "object"})


def schema_of(*tools: Tool, **fields: Any) -> dict[str, Any]:
    asked = {"tool_choice": "required", "tool_parser": "hermes"} | fields
    sampling = Sampling(max_tokens=1)
    return forced_schema(GenerateRequest(request_id="r", sampling=sampling, tools=tools, **asked))


@pytest.mark.parametrize(
    ("tools", "fields", "most"),
    [
        ((WEATHER,), {}, MOST_CALLS),
        ((WEATHER, NOW), {}, MOST_CALLS),
        ((ANYTHING,), {}, MOST_CALLS),
        ((NOW,), {}, 1),
        ((NOW, TODAY), {}, 2),
        ((NOW,) * 20, {}, MOST_CALLS),
        ((WEATHER, NOW), {"parallel_tool_calls": False}, 1),
    ],
)
def test_calls_that_must_be_made_have_an_end(
    tools: tuple[Tool, ...], fields: dict[str, Any], most: int
) -> None:
    schema = schema_of(*tools, **fields)
    assert (schema["minItems"], schema["maxItems"]) == (1, most)


def test_the_arguments_of_a_named_function_are_one_object() -> None:
    assert schema_of(WEATHER, tool_choice="function:get_weather")["type"] == "object"


@pytest.mark.vllm
@pytest.mark.parametrize("matcher", [xgrammar_matcher, llguidance_matcher])
def test_the_grammar_itself_holds_them(matcher: Callable[[Any], Callable[[str], bool]]) -> None:
    accepts = matcher(schema_of(WEATHER))
    call = {"name": "get_weather", "arguments": {"city": "Oslo"}}
    separators = (",", ":") if matcher is xgrammar_matcher else (", ", ": ")
    for count, fits in [(0, False), (1, True), (MOST_CALLS, True), (MOST_CALLS + 1, False)]:
        assert accepts(json.dumps([call] * count, separators=separators)) is fits, count


def test_arguments_are_an_object_where_the_parameters_allow_more() -> None:
    maybe = Tool(name="maybe", parameters={"type": ["object", "null"], "properties": {}})
    assert schema_of(maybe, tool_choice="function:maybe")["type"] == "object"
