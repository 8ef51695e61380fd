"""/v1/messages: whole answers and streams' events, stops, thoughts, calls, what is billed."""

import json
from typing import Any

import httpx
import pytest

from engines.base import Reasoning
from tests.support.serving import Served, read_records, scripted, server_of, serving, wait_until

ASK: dict[str, Any] = {
    "model": "m",
    "max_tokens": 64,
    "messages": [{"role": "user", "content": "Hei på deg"}],
}
WEATHER = {
    "name": "weather",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"enum": ["Oslo"]}},
        "required": ["city"],
    },
}
VERSION = {"anthropic-version": "2023-06-01", "anthropic-beta": "some-beta-2026-01-01"}

served = server_of(
    scripted("m", tool_parser="hermes", also_known_as=("claude-*",)),
    scripted("agent", tool_parser="hermes", calls_tools=True),
    scripted("long", text="word " * 200, output_tokens=64),
    scripted(
        "thinks",
        text="Oslo.",
        reasoning=Reasoning(),
        reasoning_text="Norway, so Oslo.",
        reasoning_efforts={"high": {"hard": True}},
    ),
    scripted("dies", text="word " * 100, die_after_tokens=12, token_delay_s=0.001),
    scripted("small", context_tokens=16, output_tokens=16),
    scripted("plain", tool_parser="none"),
)


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    """Each with the name that stands before it."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    out = []
    for part in answer.text.strip().split("\n\n"):
        name, data = part.split("\n")
        body = json.loads(data.removeprefix("data: "))
        assert name == f"event: {body['type']}"
        out.append(body)
    return out


def folded(told: list[dict[str, Any]]) -> dict[str, Any]:
    """The message that a stream's events add up to."""
    message: dict[str, Any] = told[0]["message"]
    for event in told[1:]:
        match event["type"]:
            case "content_block_start":
                assert event["index"] == len(message["content"])
                message["content"].append(event["content_block"])
            case "content_block_delta":
                block, delta = message["content"][event["index"]], event["delta"]
                assert event["index"] == len(message["content"]) - 1
                [(name, value)] = [(k, v) for k, v in delta.items() if k != "type"]
                if name == "partial_json":
                    block["partial"] = block.get("partial", "") + value
                else:
                    block[name] = block[name] + value
            case "message_delta":
                message |= event["delta"] | {"usage": event["usage"]}
    for block in message["content"]:
        if "partial" in block:
            block["input"] = json.loads(block.pop("partial"))
    return message


def test_a_whole_message_has_exactly_anthropics_shape(client: httpx.Client) -> None:
    answer = client.post("/v1/messages", json=ASK, headers=VERSION)
    body = answer.json()
    assert body.pop("id").startswith("msg_")
    assert answer.headers["request-id"] == answer.headers["x-request-id"]
    assert body == {
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": "Hei på deg"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 4,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 4,
        },
    }


def test_the_events_of_a_stream_come_in_their_order(client: httpx.Client) -> None:
    told = events(client.post("/v1/messages", json=ASK | {"stream": True}))
    kinds = [event["type"] for event in told]
    deltas = kinds.count("content_block_delta")
    assert deltas > 1
    assert kinds == [
        "message_start",
        "ping",
        "content_block_start",
        *["content_block_delta"] * deltas,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    start = told[0]["message"]
    assert (start["content"], start["stop_reason"]) == ([], None)
    assert start["usage"]["input_tokens"] == 4


CASES: dict[str, dict[str, Any]] = {
    "text": {},
    "thinking": {"model": "thinks", "thinking": {"type": "enabled", "budget_tokens": 32}},
    "adaptive": {"model": "thinks", "thinking": {"type": "adaptive"}},
    "hidden thinking": {"model": "thinks"},
    "a call": {"model": "agent", "tools": [WEATHER]},
    "a forced call": {"tools": [WEATHER], "tool_choice": {"type": "any"}},
    "cut": {"model": "long", "max_tokens": 3},
    "stopped": {"stop_sequences": ["x", "deg"]},
    "stopped in a thought's answer": {"model": "thinks", "stop_sequences": ["Oslo", "so"]},
    "nothing": {"stop_sequences": ["Hei"]},
    "a form": {
        "output_config": {
            "format": {
                "type": "json_schema",
                "schema": {"type": "object", "properties": {"n": {"const": 1}}, "required": ["n"]},
            }
        }
    },
}


@pytest.mark.parametrize("case", CASES)
def test_a_whole_message_is_the_sum_of_its_stream(client: httpx.Client, case: str) -> None:
    whole = client.post("/v1/messages", json=ASK | CASES[case])
    assert whole.status_code == 200, whole.text
    streamed = folded(
        events(client.post("/v1/messages", json=ASK | CASES[case] | {"stream": True}))
    )
    one, other = whole.json(), streamed
    assert one.pop("id") != other.pop("id")
    assert one == other


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("case", "kinds", "reason", "sequence"),
    [
        ("text", ["text"], "end_turn", None),
        ("thinking", ["thinking", "text"], "end_turn", None),
        ("hidden thinking", ["text"], "end_turn", None),
        ("a call", ["tool_use"], "tool_use", None),
        ("a forced call", ["tool_use"], "tool_use", None),
        ("cut", ["text"], "max_tokens", None),
        ("stopped", ["text"], "stop_sequence", "deg"),
        ("stopped in a thought's answer", [], "stop_sequence", "Oslo"),
        ("nothing", [], "stop_sequence", "Hei"),
    ],
)
def test_how_a_message_ends(
    client: httpx.Client,
    case: str,
    kinds: list[str],
    reason: str,
    sequence: str | None,
    stream: bool,
) -> None:
    answer = client.post("/v1/messages", json=ASK | CASES[case] | {"stream": stream})
    message = folded(events(answer)) if stream else answer.json()
    assert [block["type"] for block in message["content"]] == kinds
    assert (message["stop_reason"], message["stop_sequence"]) == (reason, sequence)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_what_is_told_is_what_is_billed_once(
    client: httpx.Client, served: Served, case: str, stream: bool
) -> None:
    before = len(read_records(served.data_dir))
    body = ASK | CASES[case] | {"stream": stream, "metadata": {"user_id": "ola"}}
    answer = client.post("/v1/messages", json=body)
    usage = (folded(events(answer)) if stream else answer.json())["usage"]
    wait_until(lambda: len(read_records(served.data_dir)) > before, "the record")
    [record] = read_records(served.data_dir)[before:]
    assert (record["endpoint"], record["user"]) == ("messages", "ola")
    read = usage["input_tokens"] + usage["cache_read_input_tokens"]
    assert (record["prompt_tokens"], record["completion_tokens"]) == (read, usage["output_tokens"])
    details = usage.get("output_tokens_details", {"thinking_tokens": 0})
    assert record["reasoning_tokens"] == details["thinking_tokens"]


def test_a_thought_comes_back_as_it_was_told(client: httpx.Client) -> None:
    thought = client.post("/v1/messages", json=ASK | CASES["thinking"]).json()["content"]
    assert thought[0]["thinking"] == "Norway, so Oslo."
    assert thought[0]["signature"]
    hidden = {"type": "redacted_thinking", "data": "xyz"}
    turns = [
        *ASK["messages"],
        {"role": "assistant", "content": [hidden, *thought]},
        {"role": "user", "content": "Sure?"},
    ]
    again = client.post("/v1/messages", json=ASK | CASES["thinking"] | {"messages": turns})
    assert again.status_code == 200, again.text


def test_an_effort_counts_where_the_model_has_it(client: httpx.Client) -> None:
    for model in ("m", "thinks"):
        for effort in ("low", "high", "max"):
            body = ASK | {"model": model, "output_config": {"effort": effort}}
            assert client.post("/v1/messages", json=body).status_code == 200


def test_any_name_that_an_alias_is_known_by_is_answered(client: httpx.Client) -> None:
    answer = client.post("/v1/messages", json=ASK | {"model": "claude-opus-4-8"})
    assert answer.json()["model"] == "claude-opus-4-8"


def test_an_engine_that_dies_is_an_error_event_and_billed(
    client: httpx.Client, served: Served
) -> None:
    body = ASK | {"model": "dies", "stream": True}
    *_, last = events(client.post("/v1/messages", json=body))
    assert last["type"] == "error"
    assert last["error"]["type"] == "overloaded_error"
    assert last["request_id"].startswith("req_")
    wait_until(lambda: read_records(served.data_dir)[-1]["end"] == "engine_died", "the record")
    assert read_records(served.data_dir)[-1]["completion_tokens"] > 0


def test_who_leaves_is_billed_for_what_was_made(client: httpx.Client, served: Served) -> None:
    before = len(read_records(served.data_dir))
    slow = ASK | {"model": "dies", "stream": True}
    with client.stream("POST", "/v1/messages", json=slow) as answer:
        next(answer.iter_raw())
    wait_until(lambda: len(read_records(served.data_dir)) > before, "the record")
    assert read_records(served.data_dir)[-1]["completion_tokens"] > 0


def test_a_silent_stream_is_kept_alive_by_pings(tmp_path: Any) -> None:
    slow = scripted("slow", text="a b", token_delay_s=1.2)
    with serving(tmp_path, slow, settings={"keep_alive_s": 0.2}) as server:
        answer = httpx.post(
            server.url + "/v1/messages",
            json=ASK | {"model": "slow", "stream": True},
            headers=server.headers,
            timeout=60,
        )
    kinds = [event["type"] for event in events(answer)]
    assert kinds.count("ping") >= 2
    assert kinds[-1] == "message_stop"


def test_tokens_are_counted_as_they_are_billed(client: httpx.Client, served: Served) -> None:
    before = len(read_records(served.data_dir))
    asked = {"model": "m", "messages": ASK["messages"], "system": "Be kind.", "tools": [WEATHER]}
    counted = client.post("/v1/messages/count_tokens", json=asked).json()
    assert len(read_records(served.data_dir)) == before
    usage = client.post("/v1/messages", json=ASK | asked).json()["usage"]
    assert counted == {"input_tokens": usage["input_tokens"] + usage["cache_read_input_tokens"]}


def test_models_in_anthropics_form(client: httpx.Client) -> None:
    listed = client.get("/v1/models", headers=VERSION).json()
    assert (listed["has_more"], listed["first_id"]) == (False, "m")
    assert listed["data"][0] == {
        "type": "model",
        "id": "m",
        "display_name": "m",
        "created_at": "2023-11-14T22:13:20+00:00",
        "lifecycle": "active",
        "max_input_tokens": 32768,
        "max_tokens": 4096,
    }
    one = client.get("/v1/models/claude-opus-4-8", headers=VERSION).json()
    assert (one["type"], one["id"]) == ("model", "claude-opus-4-8")
    assert client.get("/v1/models").json()["object"] == "list"
