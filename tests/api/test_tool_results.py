"""Tools' answers in a conversation: each answers a call, in any form; what cannot is a 400."""

from typing import Any

import httpx
import pytest

from tests.support.serving import Served, scripted, server_of

served = server_of(scripted("mixtral-8x7b", tool_parser="hermes"))

ASK = {"role": "user", "content": "Weather?"}
PICTURE = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]


def called(*ids: str, arguments: str = "{}") -> dict[str, Any]:
    function = {"name": "get_weather", "arguments": arguments}
    calls = [{"id": each, "type": "function", "function": function} for each in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def said(call_id: str = "a", content: Any = "rain") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def call_item(call_id: str = "a") -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": "f", "arguments": "{}"}


def output(call_id: str = "a", value: Any = "rain") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": value}


def ask(served: Served, path: str, **body: Any) -> httpx.Response:
    return httpx.post(
        f"{served.url}{path}",
        json={"model": "mixtral-8x7b", **body},
        headers=served.headers,
        timeout=20,
    )


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "messages",
    [
        [ASK, called("a"), said()],
        [ASK, called("a"), said(content="")],
        [ASK, called("a"), said(content=[])],
        [ASK, called("a"), said(content=[{"type": "text", "text": "ra"}] * 2)],
        [ASK, called("a"), said(), said(content="snow")],
        [ASK, called("a", "a"), said(), said()],
        [ASK, called("a", "b"), said("b"), said("a")],
        [ASK, called("a", "b"), said(), ASK],
        [ASK, called("a"), ASK],
        [ASK, called("a", arguments="not JSON"), said()],
        [ASK, called("a"), said(), ASK, called("a"), said()],
    ],
)
def test_an_answer_to_a_call_is_taken(served: Served, messages: Any, stream: bool) -> None:
    answered = ask(served, "/v1/chat/completions", messages=messages, stream=stream)
    assert answered.status_code == 200, answered.text


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([ASK, said()], "messages[1].tool_call_id"),
        ([said(), ASK], "messages[0].tool_call_id"),
        ([ASK, called("a"), said("b")], "messages[2].tool_call_id"),
        ([ASK, said(), called("a")], "messages[1].tool_call_id"),
        ([ASK, called("a"), said(content=None)], "messages[2].content"),
        ([ASK, called("a"), said(content=PICTURE)], "messages[2].content[0].type"),
        ([ASK | {"tool_call_id": "a"}], "messages[0].tool_call_id"),
        ([called("a") | ASK], "messages[0].tool_calls"),
    ],
)
def test_what_answers_no_call_is_a_400_that_names_it(
    served: Served, messages: Any, param: str, stream: bool
) -> None:
    refused = ask(served, "/v1/chat/completions", messages=messages, stream=stream)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == param


@pytest.mark.parametrize(
    ("items", "param"),
    [
        ([call_item(), output()], None),
        ([call_item(), output(value="")], None),
        ([call_item(), output(value=[{"type": "input_text", "text": "x"}])], None),
        ([call_item(), call_item(), output(), output()], None),
        ([call_item()], None),
        ([output()], "input[1].call_id"),
        ([call_item(), output("b")], "input[2].call_id"),
        ([output(), call_item()], "input[1].call_id"),
        ([call_item(), output(value=[{"type": "input_image"}])], "input[2].output[0].type"),
    ],
)
def test_so_is_an_item_of_a_response(served: Served, items: Any, param: str | None) -> None:
    answered = ask(served, "/v1/responses", input=[ASK, *items])
    if param is None:
        assert answered.status_code == 200, answered.text
    else:
        assert answered.status_code == 400
        assert answered.json()["error"]["param"] == param
