"""Ollama's conversations: calls without ids, their results, and what is no text."""

import json
import time
from typing import Any

import httpx
import pytest

from engines.base import Delta, ToolCallDelta, Usage
from server.api.ollama.answers import CHAT_LINE, OllamaAnswer, OllamaStream
from server.api.ollama.durations import seconds_of
from server.api.ollama.messages import chat_messages
from server.api.ollama.wire_messages import OllamaMessage
from tests.support.serving import scripted, server_of

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {
                "type": "object",
                "properties": {"city": {"enum": ["Oslo"]}},
                "required": ["city"],
            },
        },
    }
]
ASK: dict[str, Any] = {"model": "calls", "messages": [{"role": "user", "content": "Weather?"}]}

served = server_of(
    scripted("calls", tool_parser="hermes", calls_tools=True), scripted("plain", tool_parser="none")
)


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_comes_whole_and_goes_back_without_an_id(client: httpx.Client, stream: bool) -> None:
    asked = ASK | {"tools": TOOLS, "stream": stream}
    text = client.post("/api/chat", json=asked).text
    told = [json.loads(line)["message"].get("tool_calls", []) for line in text.splitlines()]
    [call] = [call for calls in told for call in calls]
    assert call["function"]["name"] == "weather"
    assert call["function"]["arguments"] == {"city": "Oslo"}
    back = [
        *ASK["messages"],
        {"role": "assistant", "content": "", "tool_calls": [{"function": call["function"]}]},
        {"role": "tool", "tool_name": "weather", "content": "Rain"},
    ]
    answer = client.post("/api/chat", json=asked | {"messages": back})
    assert answer.status_code == 200, answer.text


def test_tools_have_no_effect_where_none_are_called(client: httpx.Client) -> None:
    asked = ASK | {"model": "plain", "tools": TOOLS, "stream": False}
    assert client.post("/api/chat", json=asked).json()["message"]["content"] == "Weather?"


def test_a_result_without_a_call_is_refused(client: httpx.Client) -> None:
    messages = [*ASK["messages"], {"role": "tool", "content": "Rain"}]
    answer = client.post("/api/chat", json=ASK | {"messages": messages})
    assert answer.status_code == 400
    assert "answers no call" in answer.json()["error"]


def test_a_picture_is_refused_where_it_stands(client: httpx.Client) -> None:
    messages = [{"role": "user", "content": "What is it?", "images": ["aGk="]}]
    answer = client.post("/api/chat", json=ASK | {"messages": messages})
    assert answer.status_code == 400
    assert "messages[0].images" in answer.json()["error"]
    alone = client.post("/api/generate", json={"model": "plain", "prompt": "?", "images": ["aGk="]})
    assert (alone.status_code, "images" in alone.json()["error"]) == (400, True)


def made(*names: str) -> OllamaMessage:
    calls = [{"function": {"name": name, "arguments": {}}} for name in names]
    return OllamaMessage.model_validate({"role": "assistant", "tool_calls": calls})


def result(name: str | None = None, call_id: str | None = None) -> OllamaMessage:
    return OllamaMessage(role="tool", content="x", tool_name=name, tool_call_id=call_id)


def test_results_find_their_calls_by_name_and_then_by_order() -> None:
    read = chat_messages([made("a", "b", "a"), result("b"), result("a"), result(), result("c")])
    ids = [call.id for call in read[0].tool_calls or ()]
    assert len(set(ids)) == 3
    assert [m.tool_call_id for m in read[1:]] == [ids[1], ids[0], ids[2], "c"]


def test_ids_of_ones_own_are_kept() -> None:
    calls = [{"id": "x1", "function": {"name": "a", "arguments": {"k": "ø"}}}]
    first = OllamaMessage.model_validate({"role": "assistant", "tool_calls": calls})
    read = chat_messages([first, result(call_id="x1")])
    assert [call.id for call in read[0].tool_calls or ()] == ["x1"]
    assert (read[0].tool_calls or [])[0].function.arguments == '{"k":"ø"}'
    assert read[1].tool_call_id == "x1"


CUT = [
    Delta(text="", tool_calls=(ToolCallDelta(index=0, id="c0", name="a", arguments='{"k"'),)),
    Delta(text="", tool_calls=(ToolCallDelta(index=0, arguments=": 1}"),)),
    Delta(text="", tool_calls=(ToolCallDelta(index=1, id="c1", name="b", arguments="{"),)),
    Delta(text="", finish_reason="length"),
]


def test_a_call_that_was_cut_is_left_out() -> None:
    whole, stream = OllamaAnswer("m", CHAT_LINE), OllamaStream("m", CHAT_LINE)
    text = b""
    for delta in CUT:
        whole.add(delta)
        text += stream.delta(delta)
    text += stream.close(Usage(1, 1))
    told = [json.loads(line)["message"].get("tool_calls", []) for line in text.splitlines()]
    body = json.loads(whole.body(Usage(1, 1)))
    expected = {"id": "c0", "function": {"index": 0, "name": "a", "arguments": {"k": 1}}}
    assert [call for calls in told for call in calls] == body["message"]["tool_calls"] == [expected]
    assert body["done_reason"] == "length"


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (300, 300),
        (-1, -1),
        (0.5, 0.5),
        ("5m", 300),
        ("1h30m", 5400),
        ("-1m", -60),
        ("0", 0),
        (" 10s ", 10),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("100ms", 0.1),
        ("24h0m0s", 86400),
    ],
)
def test_durations(said: float | str, seconds: float) -> None:
    assert seconds_of(said) == pytest.approx(seconds)


@pytest.mark.parametrize("said", ["", "m", "5 m", "5x", "1h-3m", "NaN", "1e3s", "--5s"])
def test_what_is_no_duration(said: str) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        seconds_of(said)


def test_many_calls_and_results_take_no_more_than_each_its_own_time() -> None:
    calls = [made(*(f"n{i}" for i in range(1000))) for _ in range(4)]
    began = time.thread_time()
    read = chat_messages([*calls, *(result("n999") for _ in range(4000))])
    assert time.thread_time() - began < 1.0
    assert {m.tool_call_id for m in read[8:]} == {"n999"}
