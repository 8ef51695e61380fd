"""Tools, calls and their answers in words, for chat templates that have no place for them."""

import json
from typing import Any

import pytest

from engines.answers.model_tools import ModelTools
from engines.base import GenerateRequest, Sampling, Tool

PLAIN = "{% for message in messages %}{{ message['role'] }}{{ message['content'] }}{% endfor %}"
STRICT = "{{ raise_exception('System role not supported') }}"
ALTERNATING = "{{ raise_exception('Conversation roles must alternate') }}"
CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS = (
    Tool(name="get_weather", description="Værmelding", parameters=CITY),
    Tool(name="get_time", parameters=CITY),
)
CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"city": "Bodø"}'},
}
USER, SYSTEM = {"role": "user", "content": "Weather?"}, {"role": "system", "content": "Be brief."}
CALLED = {"role": "assistant", "content": "I look.", "tool_calls": [CALL]}
SAID = {"role": "tool", "tool_call_id": "call_1", "content": "rain"}


def rendered(messages: Any, template: str = PLAIN, **fields: Any) -> list[Any]:
    asked = {"tools": TOOLS, "tool_parser": "hermes"} | fields
    sampling = Sampling(max_tokens=9)
    request = GenerateRequest(request_id="r", sampling=sampling, messages=messages, **asked)
    return list(ModelTools(template, lambda text: False).messages(request))


def test_every_tool_is_shown_with_its_schema() -> None:
    system, user = rendered([USER])
    shown = system["content"].split("<tools>\n")[1].split("\n</tools>")[0].splitlines()
    assert [json.loads(line)["function"]["name"] for line in shown] == ["get_weather", "get_time"]
    assert json.loads(shown[0])["function"]["parameters"] == CITY
    assert "Værmelding" in shown[0]
    assert (system["role"], user) == ("system", USER)


def test_a_system_message_stays_the_only_one() -> None:
    system, user = rendered([SYSTEM, USER])
    assert system["content"].startswith("Be brief.\n\n# Tools")
    assert user == USER


@pytest.mark.parametrize("template", [STRICT, ALTERNATING])
def test_a_template_without_a_system_message_shows_them_to_the_user(template: str) -> None:
    [user] = rendered([USER], template)
    assert user["role"] == "user"
    assert user["content"].startswith("# Tools")
    assert user["content"].endswith("Weather?")


@pytest.mark.parametrize(
    ("choice", "form"),
    [
        ("auto", "<tool_call>"),
        ("required", '[{"name": <function-name>'),
        ("function:get_time", "Call get_time"),
    ],
)
def test_the_form_asked_for_is_the_one_that_is_read(choice: str, form: str) -> None:
    assert form in rendered([USER], tool_choice=choice)[0]["content"]


@pytest.mark.parametrize("tools", [TOOLS, ()])
def test_calls_and_answers_of_the_history_are_words(tools: Any) -> None:
    """Also in a request that brings no tools: the template would leave them out."""
    parser = "hermes" if tools else None
    turns = rendered([SYSTEM, USER, CALLED, SAID, USER], tools=tools, tool_parser=parser)
    _, _, called, said = turns
    assert called["role"] == "assistant"
    assert "tool_calls" not in called
    head, _, call = called["content"].partition("\n<tool_call>\n")
    assert head == "I look."
    written = json.loads(call.removesuffix("\n</tool_call>"))
    assert written == {"name": "get_weather", "arguments": {"city": "Bodø"}}
    assert said["role"] == "user"
    assert said["content"] == "<tool_response>\nrain\n</tool_response>\nWeather?"


def test_several_answers_are_one_turn() -> None:
    turns = rendered([USER, CALLED, SAID, SAID | {"content": "08:15"}])
    assert [turn["role"] for turn in turns] == ["system", "user", "assistant", "user"]
    assert turns[-1]["content"].count("<tool_response>") == 2


def test_a_template_that_knows_calls_gets_the_history_as_it_is() -> None:
    messages = [USER, CALLED, SAID]
    assert rendered(messages, "{{ message.tool_calls }}", tools=(), tool_parser=None) == messages
