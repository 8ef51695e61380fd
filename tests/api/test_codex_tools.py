"""/v1/responses with the tools of coding agents: custom tools, namespaces, and those left out.

The bodies have the shape in which Codex CLI sends them.
"""

import json
from typing import Any

import httpx
import openai
import pytest
from openai.types.responses import ResponseCustomToolCall, ResponseFunctionToolCall

from server.api.responses.custom_input import CustomInput
from tests.support.codex_bodies import CODEX, HISTORY, PATCH, SHELL, USER
from tests.support.serving import Served, scripted, server_of

served = server_of(scripted("m"), scripted("tools", tool_parser="hermes"))


def call_of(sdk: openai.OpenAI, choice: Any, stream: bool, **fields: Any) -> Any:
    body = CODEX | {"tool_choice": choice} | fields
    if not stream:
        [item] = sdk.responses.create(**body).output
        return item
    with sdk.responses.create(**body, stream=True) as events:
        done = [e.item for e in events if e.type == "response.output_item.done"]
    [item] = done
    return item


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize(
    ("choice", "name", "namespace"),
    [
        ({"type": "custom", "name": "apply_patch"}, "apply_patch", None),
        ({"type": "custom", "name": "comment"}, "comment", "mcp__github"),
    ],
)
def test_a_custom_tool_is_called_with_a_text(
    sdk: openai.OpenAI, choice: Any, name: str, namespace: str | None, stream: bool
) -> None:
    item = call_of(sdk, choice, stream)
    assert isinstance(item, ResponseCustomToolCall)
    assert (item.name, item.namespace, item.input) == (name, namespace, "x")
    assert item.call_id.startswith("call_")
    assert item.id is not None
    assert item.id.startswith("ctc_")


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_a_function_in_a_namespace_is_called_by_its_own_name(
    sdk: openai.OpenAI, stream: bool
) -> None:
    item = call_of(sdk, {"type": "function", "name": "search"}, stream)
    assert isinstance(item, ResponseFunctionToolCall)
    assert (item.name, item.namespace) == ("search", "mcp__github")
    assert json.loads(item.arguments) == {"command": []}


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_custom_tools_alone_can_be_required(sdk: openai.OpenAI, stream: bool) -> None:
    item = call_of(sdk, "required", stream, tools=[PATCH])
    assert (item.type, item.input) == ("custom_tool_call", "x")


def test_the_events_of_a_custom_call_come_in_openais_order(client: httpx.Client) -> None:
    choice = {"type": "custom", "name": "apply_patch"}
    body = CODEX | {"tool_choice": choice, "stream": True}
    lines = client.post("/v1/responses", json=body).text.splitlines()
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    assert [e["type"] for e in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.custom_tool_call_input.delta",
        "response.custom_tool_call_input.done",
        "response.output_item.done",
        "response.completed",
    ]
    added, delta, done = events[2:5]
    assert (added["item"]["type"], added["item"]["input"]) == ("custom_tool_call", "")
    assert (delta["delta"], done["input"]) == ("x", "x")
    assert {e["item_id"] for e in (delta, done)} == {added["item"]["id"]}


@pytest.mark.parametrize("model", ["tools", "m"])
def test_tools_that_a_server_would_run_are_left_out_and_named(
    client: httpx.Client, model: str
) -> None:
    body = CODEX | {"model": model, "metadata": {"k": "v"}}
    answer = client.post("/v1/responses", json=body).json()
    assert answer["metadata"] == {"k": "v", "tools_left_out": "local_shell, web_search"}
    assert [tool["type"] for tool in answer["tools"]] == ["function", "custom", "namespace"]
    assert answer["tools"][1] == PATCH
    assert answer["output"][0]["content"][0]["text"] == "Fix the typo"


def test_nothing_is_named_where_nothing_is_left_out(client: httpx.Client) -> None:
    answer = client.post("/v1/responses", json=CODEX | {"tools": [SHELL]}).json()
    assert answer["metadata"] == {}


def test_the_items_of_such_calls_may_stand_in_the_history(
    served: Served, client: httpx.Client
) -> None:
    answer = client.post("/v1/responses", json=CODEX | {"input": HISTORY})
    assert answer.status_code == 200, answer.text


def test_an_answers_items_can_be_sent_back(sdk: openai.OpenAI) -> None:
    item = call_of(sdk, {"type": "custom", "name": "comment"}, stream=False)
    output = {"type": "custom_tool_call_output", "call_id": item.call_id, "output": "Done"}
    history: Any = [USER, item.model_dump(exclude_none=True), output]
    assert sdk.responses.create(**CODEX | {"input": history}).status == "completed"


INPUTS = [
    "",
    '*** Begin Patch\n+\ttab "quoted" \\ back / slash\n*** End Patch',
    "ø 中 🙂🙂 \u2028 end",
    "\\u0041 no escape \\",
]


@pytest.mark.parametrize("is_ascii", [True, False])
@pytest.mark.parametrize("size", [1, 2, 5, 7, 1000])
@pytest.mark.parametrize("text", INPUTS)
def test_the_text_of_a_custom_call_is_read_while_it_comes(
    text: str, size: int, is_ascii: bool
) -> None:
    arguments = json.dumps({"input": text}, ensure_ascii=is_ascii)
    reader = CustomInput()
    pieces = [arguments[i : i + size] for i in range(0, len(arguments), size)]
    said = [reader.feed(piece) for piece in pieces]
    assert "".join(said) + reader.end() == text
    assert size > 1 or not text or sum(map(bool, said)) > 5


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ('{"patch": "abc"}', "abc"),
        ('"abc"', "abc"),
        ("abc", "abc"),
        ('{"a": 1, "b": "c"}', '{"a": 1, "b": "c"}'),
        ('{"input": "half \\ud83d end"}', "half \ufffd end"),
        ('{"input": "cut', "cut"),
        ('{"input": "a\\qb"}', "a\\qb"),
    ],
)
def test_what_a_model_wrote_otherwise_is_its_text(arguments: str, text: str) -> None:
    reader = CustomInput()
    assert reader.feed(arguments) + reader.end() == text
