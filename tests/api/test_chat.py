"""The documented endpoints over a real socket, on an engine that says what it is told."""

import json
import re
import socket
import time
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from engines.base import Reasoning
from tests.support.serving import Served, read_records, scripted, server_of, serving, wait_until
from tests.support.wire_checks import assert_error, events

CHAT_PATHS = ["/v1/llm/chat", "/v1/llm/chat/completions", "/v1/chat/completions"]
HELLO: dict[str, Any] = {
    "model": "mixtral-8x7b",
    "messages": [{"role": "user", "content": "Hi you"}],
}

served = server_of(
    scripted("mixtral-8x7b"),
    scripted("qwen3-80b-instruct", text="A story."),
    scripted("deepseek-v3", text="Help is here."),
    scripted(
        "qwen3-235b-thinking",
        text="The capital of Norway is Oslo.",
        reasoning=Reasoning(),
        reasoning_text="Norway, so Oslo.",
    ),
    scripted("slow", text="word " * 2000, token_delay_s=0.01),
    scripted("tiny", context_tokens=20, output_tokens=10),
)


@pytest.mark.parametrize("path", CHAT_PATHS)
def test_a_whole_answer_has_exactly_the_documented_shape(client: httpx.Client, path: str) -> None:
    before = int(time.time())
    r = client.post(path, json=HELLO)
    body = r.json()
    assert r.status_code == 200
    assert set(body) == {"id", "object", "created", "model", "choices", "usage"}
    assert re.fullmatch(r"chatcmpl-[0-9a-f]+", body["id"])
    assert body["object"] == "chat.completion"
    assert before <= body["created"] <= time.time()
    assert body["model"] == "mixtral-8x7b"
    assert body["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hi you"},
            "finish_reason": "stop",
        }
    ]
    assert body["usage"] == {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6}


@pytest.mark.parametrize("path", CHAT_PATHS)
def test_a_stream_has_exactly_the_documented_chunks(client: httpx.Client, path: str) -> None:
    r = client.post(path, json=HELLO | {"stream": True})
    assert r.headers["content-type"].startswith("text/event-stream")
    assert r.headers["cache-control"] == "no-cache"
    assert r.headers["x-accel-buffering"] == "no"
    chunks = events(r.text)
    assert {(c["id"], c["object"], c["created"], c["model"]) for c in chunks} == {
        (chunks[0]["id"], "chat.completion.chunk", chunks[0]["created"], "mixtral-8x7b")
    }
    choices = [c["choices"][0] for c in chunks]
    assert choices[0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(c["delta"]["content"] for c in choices[1:-1]) == "Hi you"
    assert choices[-1] == {"index": 0, "delta": {}, "finish_reason": "stop"}
    assert all(c["finish_reason"] is None for c in choices[:-1])


def test_usage_comes_in_a_stream_only_when_asked_for(client: httpx.Client) -> None:
    asked = {"stream": True, "stream_options": {"include_usage": True}}
    chunks = events(client.post("/v1/chat/completions", json=HELLO | asked).text)
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6}
    assert all(c["usage"] is None for c in chunks[:-1])
    chunks = events(client.post("/v1/chat/completions", json=HELLO | {"stream": True}).text)
    assert all(c["choices"] and "usage" not in c for c in chunks)


PAGE_EXAMPLES: list[dict[str, Any]] = [
    {
        "model": "qwen3-235b-thinking",
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": "What is the capital of Norway?"},
        ],
        "temperature": 0.7,
        "max_tokens": 256,
    },
    {
        "model": "mixtral-8x7b",
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": "Hello!"},
        ],
        "temperature": 0.7,
        "max_tokens": 100,
    },
    {
        "model": "qwen3-80b-instruct",
        "messages": [{"role": "user", "content": "Write a story"}],
        "stream": True,
        "max_tokens": 500,
    },
    {
        "model": "deepseek-v3",
        "messages": [{"role": "user", "content": "Help me code"}],
        "agent_id": "ephemeral",
        "tools": [],
        "tool_choice": "auto",
    },
]


@pytest.mark.parametrize("path", CHAT_PATHS)
@pytest.mark.parametrize("body", PAGE_EXAMPLES, ids=lambda b: str(b["model"]))
def test_every_example_of_the_page_works_word_for_word(
    client: httpx.Client, path: str, body: dict[str, Any]
) -> None:
    assert client.post(path, json=body).status_code == 200


def test_null_means_not_given_for_every_optional_field(client: httpx.Client) -> None:
    from server.api.chat.wire import ChatRequest

    optional = [n for n, f in ChatRequest.model_fields.items() if not f.is_required()]
    body = HELLO | dict.fromkeys(optional)
    r = client.post("/v1/chat/completions", json=body)
    assert r.json()["choices"][0]["message"]["content"] == "Hi you"


@pytest.mark.parametrize("path", ["/v1/llm/models", "/v1/models"])
def test_the_models_list_has_the_documented_members(client: httpx.Client, path: str) -> None:
    body = client.get(path).json()
    assert body["object"] == "list"
    assert body["data"][0] == {
        "id": "mixtral-8x7b",
        "object": "model",
        "owned_by": "wayscloud",
        "created": 1700000000,
    }
    assert client.get(path + "/tiny").json()["id"] == "tiny"
    assert_error(client.get(path + "/nosuch"), 404, "MODEL_NOT_FOUND", "model")


def test_reasoning_is_apart_from_the_answer_in_both_forms(client: httpx.Client) -> None:
    body = PAGE_EXAMPLES[0]
    whole = client.post("/v1/chat/completions", json=body).json()
    assert whole["model_output_metadata"] == {"reasoning": "Norway, so Oslo."}
    message = whole["choices"][0]["message"]
    assert message["content"] == "The capital of Norway is Oslo."
    assert message["reasoning_content"] == "Norway, so Oslo."
    assert whole["usage"]["completion_tokens_details"] == {"reasoning_tokens": 3}
    chunks = events(client.post("/v1/chat/completions", json=body | {"stream": True}).text)
    traces = [
        c["model_output_metadata"]["reasoning"] for c in chunks if "model_output_metadata" in c
    ]
    assert "".join(traces) == "Norway, so Oslo."
    deltas = [c["choices"][0]["delta"] for c in chunks]
    assert "".join(d.get("reasoning_content", "") for d in deltas) == "Norway, so Oslo."
    assert "".join(d.get("content", "") for d in deltas) == "The capital of Norway is Oslo."


def test_answers_carry_request_id_and_rate_limit_headers(client: httpx.Client) -> None:
    r = client.post("/v1/chat/completions", json=HELLO, headers={"X-Request-Id": "mine-1"})
    assert r.headers["x-request-id"] == "mine-1"
    assert r.headers["x-ratelimit-limit"] == "1000"
    assert int(r.headers["x-ratelimit-remaining"]) < 1000
    assert int(r.headers["x-ratelimit-reset"]) >= int(time.time())
    other = client.get("/v1/models")
    assert other.headers["x-request-id"] not in ("", "mine-1")
    assert other.headers["x-ratelimit-limit"] == "1000"


@pytest.mark.alone
@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_stops_its_generation_within_a_second(
    served: Served, stream: bool
) -> None:
    engine = served.services.fleet._by_alias["slow"]
    body = json.dumps(
        {"model": "slow", "messages": [{"role": "user", "content": "x"}], "stream": stream}
    ).encode()
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as s:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-API-Key: {served.key}\r\n"
        s.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        wait_until(lambda: engine.running and engine.running.leases == 1, "the request runs")
        if stream:
            s.recv(1000)
    wait_until(lambda: engine.running and engine.running.leases == 0, "it ends", 1.0)


def test_openai_client_reads_whole_streamed_and_failed_answers(sdk: openai.OpenAI) -> None:
    messages: Any = HELLO["messages"]
    whole = sdk.chat.completions.create(model="mixtral-8x7b", messages=messages)
    assert whole.choices[0].message.content == "Hi you"
    parts = sdk.chat.completions.create(model="mixtral-8x7b", messages=messages, stream=True)
    assert "".join(c.choices[0].delta.content or "" for c in parts) == "Hi you"
    assert "mixtral-8x7b" in [m.id for m in sdk.models.list()]
    assert sdk.models.retrieve("tiny").id == "tiny"
    with pytest.raises(openai.NotFoundError) as e:
        sdk.chat.completions.create(model="nosuch", messages=messages)
    assert e.value.code == "MODEL_NOT_FOUND"
    assert e.value.param == "model"


def test_every_ended_request_has_one_record_with_its_tokens_and_price(
    tmp_path: Path,
) -> None:
    with serving(tmp_path, scripted()) as own, httpx.Client(headers=own.headers) as client:
        url = own.url + "/v1/chat/completions"
        client.post(url, json=HELLO | {"user": "u1", "agent_id": "a1"})
        client.post(url, json=HELLO | {"stream": True, "max_tokens": 1})
        client.post(url, json=HELLO | {"temperature": 9})
    records = read_records(tmp_path)
    assert [(r["end"], r["stream"], r["completion_tokens"]) for r in records] == [
        ("ok", 0, 3),
        ("length", 1, 1),
        ("rejected", 0, 0),
    ]
    assert records[0]["amount"] == 3 * 4 + 3 * 12
    assert (records[0]["agent_id"], records[0]["user"]) == ("a1", "u1")
