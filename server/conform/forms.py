"""Checks: answers in an asked-for form, and tools."""

import json
from typing import Any, Final

import httpx

from server.conform import expect
from server.conform.check import declared, documented
from server.conform.streamed import Streamed
from server.conform.target import Target
from server.conform.unmet import Skipped, Unmet

PLACES: Final = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Bodø", "Tromsø"]}},
    "required": ["city"],
    "additionalProperties": False,
}
WORDS: Final = ["Blåbær 🫐", "你好"]
WEATHER: Final = {
    "type": "function",
    "function": {"name": "get_weather", "description": "The weather.", "parameters": PLACES},
}


@declared("field-response-format")
def text(t: Target) -> None:
    """response_format text is taken"""
    expect.content(t.chat(response_format={"type": "text"}))


@declared("field-response-format")
def json_schema(t: Target) -> None:
    """response_format json_schema: the answer parses and fits"""
    form = {"type": "json_schema", "json_schema": {"name": "place", "schema": PLACES}}
    value = _parsed(t.chat(response_format=form, max_tokens=80, temperature=0))
    expect.one_of("city", value.get("city"), ("Bodø", "Tromsø"))
    expect.equal("members", list(value), ["city"])


@declared("field-response-format")
def json_object(t: Target) -> None:
    """response_format json_object: the answer is one"""
    form = {"type": "json_object"}
    messages = t.said('Reply with the JSON object {"a": 1} and nothing else.')
    answer = t.chat(messages=messages, response_format=form, max_tokens=80, temperature=0)
    expect.that(isinstance(_parsed(answer), dict), "an object", answer.text)


@declared("field-response-format")
def json_object_with_a_schema(t: Target) -> None:
    """A json_object's schema counts; one beside another type is a 400"""
    form = {"type": "json_object", "schema": PLACES}
    value = _parsed(t.chat(response_format=form, max_tokens=80, temperature=0))
    expect.one_of("city", value.get("city"), ("Bodø", "Tromsø"))
    stray = {"type": "text", "schema": PLACES}
    expect.refused(t.chat(response_format=stray), 400, "INVALID_PARAMETER")


@declared("field-response-format")
def schema_missing(t: Target) -> None:
    """json_schema without a schema: 400 naming it"""
    form = {"type": "json_schema", "json_schema": {"name": "place"}}
    error = expect.refused(t.chat(response_format=form), 400, "INVALID_PARAMETER")
    expect.that("schema" in json.dumps(error), "a refusal that names the schema", error)


@declared("field-response-format")
def schema_that_is_none(t: Target) -> None:
    """A schema that cannot be compiled: 400, also for a stream"""
    schema = {"type": "object", "properties": {"a": {"type": "no-such-type"}}, "required": ["a"]}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    expect.refused(t.chat(response_format=form), 400, "INVALID_PARAMETER")
    expect.status(t.stream(response_format=form), 400)


@declared("field-structured-outputs")
def forced_unicode(t: Target) -> None:
    """structured_outputs choice: one of the words, whole and streamed, no character broken"""
    fields: dict[str, Any] = {"structured_outputs": {"choice": WORDS}, "max_tokens": 40}
    expect.one_of("content", expect.content(t.chat(**fields)), WORDS)
    expect.one_of("streamed content", t.stream(**fields).joined(), WORDS)


@documented("field-tools")
def tools_are_taken(t: Target) -> None:
    """tools with tool_choice auto and none are taken"""
    for choice in ("auto", "none"):
        expect.choice(t.chat(tools=[WEATHER], tool_choice=choice))


@documented("field-tools")
def empty_tools_are_taken(t: Target) -> None:
    """tools [] is taken"""
    expect.content(t.chat(tools=[], tool_choice="auto"))


@declared("field-tools-refused")
def tool_without_a_function(t: Target) -> None:
    """A tool without its function: 400"""
    error = expect.refused(t.chat(tools=[{"type": "function"}]), 400, "INVALID_PARAMETER")
    expect.that("tools" in json.dumps(error), "a refusal that names tools", error)


@declared("field-tools-refused")
def two_tools_of_one_name(t: Target) -> None:
    """Two tools of one name: 400"""
    error = expect.refused(t.chat(tools=[WEATHER, WEATHER]), 400, "INVALID_PARAMETER")
    expect.that("tools" in json.dumps(error), "a refusal that names tools", error)


@declared("field-tools-refused")
def tool_choice_of_no_tool(t: Target) -> None:
    """tool_choice naming no tool, or required without tools: 400"""
    named = {"type": "function", "function": {"name": "no_such"}}
    for fields in ({"tools": [WEATHER], "tool_choice": named}, {"tool_choice": "required"}):
        error = expect.refused(t.chat(**fields), 400, "INVALID_PARAMETER")
        expect.that("tool_choice" in json.dumps(error), "a refusal naming tool_choice", error)


@declared("field-tools-parser")
def required_tool(t: Target) -> None:
    """tool_choice required: a call whose arguments parse and fit; 400 where the model makes none"""
    fields: dict[str, Any] = {"tools": [WEATHER], "tool_choice": "required", "max_tokens": 120}
    answered = t.chat(**fields, temperature=0)
    _skip_without_calls(answered)
    choice = expect.choice(answered)
    _skip_cut_call(choice["finish_reason"])
    calls = choice["message"].get("tool_calls")
    expect.that(bool(calls), "a call", choice["message"])
    expect.equal("finish_reason", choice["finish_reason"], "tool_calls")
    expect.that(bool(calls[0].get("id")), "an id", calls[0])
    expect.equal("name", calls[0]["function"]["name"], "get_weather")
    city = json.loads(calls[0]["function"]["arguments"]).get("city")
    expect.one_of("city", city, ("Bodø", "Tromsø"))


@declared("field-tools-parser")
def streamed_tool(t: Target) -> None:
    """… and streamed: the pieces of the arguments make the whole"""
    streamed = t.stream(tools=[WEATHER], tool_choice="required", max_tokens=120, temperature=0)
    _skip_without_calls(streamed)
    expect.status(streamed, 200)
    _skip_cut_call(streamed.finish_reason())
    told = [c["delta"]["tool_calls"] for c in streamed.choices() if c["delta"].get("tool_calls")]
    expect.that(bool(told), "a call", streamed.joined())
    expect.equal("most pieces in one chunk", max(map(len, told)), 1)
    pieces = [piece for some in told for piece in some]
    expect.equal("finish_reason", streamed.finish_reason(), "tool_calls")
    expect.equal("name", pieces[0]["function"].get("name"), "get_weather")
    arguments = "".join(p["function"].get("arguments") or "" for p in pieces)
    expect.one_of("city", json.loads(arguments).get("city"), ("Bodø", "Tromsø"))


@declared("field-roles")
def tool_messages(t: Target) -> None:
    """A conversation with a call and its answer is taken"""
    function = {"name": "get_weather", "arguments": '{"city": "Bodø"}'}
    call = {"id": "call_1", "type": "function", "function": function}
    messages = [
        {"role": "user", "content": "Weather in Bodø?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ]
    expect.choice(t.chat(messages=messages, tools=[WEATHER]))


@declared("field-tool-answers")
def answers_without_a_call(t: Target) -> None:
    """A tool's answer to a call that was never made: 400 naming it"""
    said = {"role": "tool", "tool_call_id": "call_1", "content": "rain"}
    messages = [{"role": "user", "content": "Weather in Bodø?"}, said]
    error = expect.refused(t.chat(messages=messages), 400, "INVALID_PARAMETER")
    expect.that("tool_call_id" in json.dumps(error), "a refusal naming tool_call_id", error)


@declared("field-tools-parser")
def bounded_calls(t: Target) -> None:
    """tool_choice required: at most 16 calls, one where parallel_tool_calls is false"""
    fields: dict[str, Any] = {"tools": [WEATHER], "tool_choice": "required", "temperature": 0}
    for more, most in (({}, 16), ({"parallel_tool_calls": False}, 1)):
        answered = t.chat(**fields, max_tokens=600, **more)
        _skip_without_calls(answered)
        choice = expect.choice(answered)
        _skip_cut_call(choice["finish_reason"])
        count = len(choice["message"].get("tool_calls") or ())
        expect.that(1 <= count <= most, f"1 to {most} calls", count)


def _skip_without_calls(answer: httpx.Response | Streamed) -> None:
    if answer.status_code == 400 and "tool_choice" in answer.text:
        raise Skipped("this model calls no tools")


def _skip_cut_call(finish_reason: object) -> None:
    """A call that ended within its arguments tells nothing: random weights never close a string."""
    if finish_reason == "length":
        raise Skipped("ran out of tokens within the call")


def _parsed(answer: Any) -> Any:
    """The content as JSON; an answer that ended within the form tells nothing."""
    said = expect.content(answer)
    try:
        return json.loads(said)
    except ValueError:
        is_cut = expect.choice(answer)["finish_reason"] == "length"
        if is_cut and said.lstrip()[:1] == "{":
            raise Skipped(f"ran out of tokens within the form: {said[:60]!r}") from None
        raise Unmet("JSON", expect.shown(said)) from None
