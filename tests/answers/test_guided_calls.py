"""A call that a model begins by itself is held to its form, by each engine's own grammar; text
without a call is free."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from engines.answers.model_tools import ModelTools
from engines.base import GenerateRequest, InvalidRequest, Reasoning, Sampling, Structure, Tool
from tests.support.grammar_matchers import llguidance_calls_matcher, xgrammar_calls_matcher

PLAIN = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
QWEN = '{{ \'<tool_call>\\n{"name": "\' }}{{ tool_call.name }}{% if tool_calls %}'
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TREE = {"type": "object", "properties": {"next": {"$ref": "#"}}}
WEATHER, WALK = Tool(name="get_weather", parameters=CITY), Tool(name="walk", parameters=TREE)
UNIQUE = {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}}
MATCHERS = pytest.mark.parametrize("matcher", [llguidance_calls_matcher, xgrammar_calls_matcher])
Matcher = Callable[[GenerateRequest], Callable[[str], bool]]


def request(*tools: Tool, **fields: Any) -> GenerateRequest:
    asked: dict[str, Any] = {"tools": tools or (WEATHER, WALK), "tool_parser": "hermes"} | fields
    return GenerateRequest(request_id="r", sampling=Sampling(max_tokens=1), messages=[], **asked)


def call(name: str, arguments: Any, matcher: Matcher) -> str:
    tight = (",", ":") if matcher is xgrammar_calls_matcher else (", ", ": ")
    said = json.dumps({"name": name, "arguments": arguments}, separators=tight)
    return f"<tool_call>\n{said}\n</tool_call>"


@pytest.mark.vllm
@MATCHERS
@pytest.mark.parametrize(
    "text", ["", "Oslo.\n\n{1 < 2} 🎉", "<tool", "<tool_call", "a <<tool_call b"]
)
def test_text_without_a_call_is_free(matcher: Matcher, text: str) -> None:
    assert matcher(request())(text)


@pytest.mark.vllm
@MATCHERS
def test_a_call_is_whole_and_names_a_given_tool(matcher: Matcher) -> None:
    accepts = matcher(request())
    oslo = call("get_weather", {"city": "Oslo"}, matcher)
    deep = call("walk", {"next": {"next": {}}}, matcher)
    for fits in (oslo, f"I look.\n{oslo}", f"{oslo}\n{deep} There."):
        assert accepts(fits), fits
    for name, arguments in [("other", {"city": "x"}), ("get_weather", {}), ("walk", {"a": 1})]:
        assert not accepts(call(name, arguments, matcher)), name
    for broken in (
        "<tool_call>",
        "a<tool_call>b",
        oslo[:-13],
        f"<tool_call>{oslo}",
        oslo * 2 + "<tool_call>",
    ):
        assert not accepts(broken), broken


@pytest.mark.vllm
@MATCHERS
def test_without_parallel_calls_the_first_ends_the_answer(matcher: Matcher) -> None:
    accepts = matcher(request(parallel_tool_calls=False))
    oslo = call("get_weather", {"city": "Oslo"}, matcher)
    assert accepts("No call.")
    assert accepts(f"I look.\n{oslo}")
    assert not accepts(oslo + oslo)


@pytest.mark.vllm
@MATCHERS
def test_a_schema_that_cannot_be_enforced_leaves_any_object(matcher: Matcher) -> None:
    odd = Tool(name="odd", parameters=UNIQUE)
    accepts = matcher(request(WEATHER, odd))
    assert accepts(call("odd", {"b": 1}, matcher))
    assert not accepts(call("other", {}, matcher))
    with pytest.raises(InvalidRequest, match="uniqueItems") as refused:
        matcher(request(WEATHER, Tool(name="odd", parameters=UNIQUE, strict=True)))
    assert refused.value.param == "tools"


@pytest.mark.vllm
@MATCHERS
def test_a_thought_may_say_anything(matcher: Matcher) -> None:
    accepts = matcher(request(reasoning=Reasoning(opened_by="template")))
    oslo = call("get_weather", {"city": "Oslo"}, matcher)
    assert accepts(f"Hm <tool_call> </think>\n\n{oslo}")
    assert not accepts("Hm</think>\n\n<tool_call>x")


@pytest.mark.parametrize(
    ("template", "fields", "is_guided"),
    [
        (PLAIN, {}, True),
        (PLAIN, {"tool_choice": "none"}, False),
        (PLAIN, {"tool_choice": "required"}, False),
        (PLAIN, {"structure": Structure(kind="json_object")}, False),
        (PLAIN, {"tool_parser": None}, False),
        (PLAIN, {"tools": ()}, False),
        (QWEN, {}, False),
        (QWEN, {"tools": (WEATHER, Tool(name="walk", parameters=TREE, strict=True))}, True),
        (QWEN, {"tool_parser": "llama3_json"}, False),
    ],
)
def test_who_knows_the_form_from_us_alone_is_held_to_it(
    template: str, fields: dict[str, Any], is_guided: bool
) -> None:
    tools = ModelTools(template, lambda text: False)
    assert tools.guides(request(**fields)) is is_guided
    assert not ModelTools(template, lambda text: False, hidden={"<tool_call>"}).guides(request())
