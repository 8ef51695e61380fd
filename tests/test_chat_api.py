"""The documented endpoints over a real socket, on an engine that says what it is told."""

import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from engines.base import Reasoning
from tests.serving import Served, read_records, scripted, serving, wait_until
from tests.wire_checks import assert_error, events

CHAT_PATHS = ["/v1/llm/chat", "/v1/llm/chat/completions", "/v1/chat/completions"]
HELLO: dict[str, Any] = {
    "model": "mixtral-8x7b",
    "messages": [{"role": "user", "content": "Hi you"}],
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    models = [
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
        scripted("mute", first_token_delay_s=60),
        scripted("tiny", context_tokens=20, output_tokens=10),
    ]
    with serving(tmp_path_factory.mktemp("data"), *models) as server:
        yield server


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, headers=served.headers) as c:
        yield c


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
    from server.protocol import ChatRequest

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


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, "AUTH_FAILED"),
        ({"X-API-Key": "wayscloud_llm_abc12_YOUR_SECRET"}, 401, "AUTH_FAILED"),
        ({"Authorization": "Bearer nonsense"}, 401, "AUTH_FAILED"),
        ({"Authorization": "Basic abc"}, 401, "AUTH_FAILED"),
        ({"X-API-Key": "wayscloud_dns_abc12_SECRET"}, 403, "INSUFFICIENT_PERMISSIONS"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/models", "/v1/chat/completions"])
def test_a_missing_or_wrong_key_is_refused(
    served: Served, headers: dict[str, str], status: int, code: str, path: str
) -> None:
    method = "GET" if path.endswith("models") else "POST"
    r = httpx.request(method, served.url + path, headers=headers, json=HELLO)
    assert_error(r, status, code)
    assert (status == 401) == ("www-authenticate" in r.headers)


def test_both_key_headers_work_and_x_api_key_counts(served: Served) -> None:
    url = served.url + "/v1/models"
    assert httpx.get(url, headers={"Authorization": f"bearer {served.key}"}).status_code == 200
    both = {"X-API-Key": served.key, "Authorization": "Bearer wrong"}
    assert httpx.get(url, headers=both).status_code == 200
    both = {"X-API-Key": "wrong", "Authorization": f"Bearer {served.key}"}
    assert httpx.get(url, headers=both).status_code == 401


def test_a_key_for_other_models_is_refused(served: Served) -> None:
    key = served.new_key(models=frozenset({"tiny"}))
    headers = {"X-API-Key": key}
    r = httpx.post(served.url + "/v1/chat/completions", headers=headers, json=HELLO)
    assert_error(r, 403, "INSUFFICIENT_PERMISSIONS")
    listed = httpx.get(served.url + "/v1/models", headers=headers).json()["data"]
    assert [m["id"] for m in listed] == ["tiny"]


@pytest.mark.parametrize(
    ("change", "field", "provided"),
    [
        ({"temperature": 2.5}, "temperature", 2.5),
        ({"temperature": "0.7"}, "temperature", "0.7"),
        ({"max_tokens": 0}, "max_tokens", 0),
        ({"max_tokens": 5000}, "max_tokens", 5000),
        ({"max_tokens": True}, "max_tokens", True),
        ({"top_p": -0.1}, "top_p", -0.1),
        ({"messages": []}, "messages", "an array"),
        ({"messages": "hi"}, "messages", "hi"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role", "robot"),
        ({"stop": ["x"] * 17}, "stop", "an array"),
        ({"n": 17}, "n", 17),
        ({"region": "mars"}, "region", "mars"),
        ({"stream": "yes"}, "stream", "yes"),
        ({"logit_bias": {"1": 101}}, "logit_bias.1", 101),
        ({"top_logprobs": 3}, "top_logprobs", 3),
        ({"reasoning_effort": "high"}, "reasoning_effort", "high"),
    ],
)
def test_a_wrong_field_is_named_with_what_would_be_right(
    client: httpx.Client, change: dict[str, Any], field: str, provided: Any
) -> None:
    r = client.post("/v1/chat/completions", json=HELLO | change)
    error = assert_error(r, 400, "INVALID_PARAMETER", field)
    assert error["type"] == "invalid_request_error"
    assert error["details"]["field"] == field
    assert error["details"]["provided"] == provided
    assert error["details"]["expected"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'"x"', b"\xff\xfe", b'{"model": NaN}', b"[" * 5000, b'{"a":"\\ud800"}'],
    ids=["empty", "cut", "array", "string", "not utf-8", "nan", "deep", "surrogate"],
)
def test_what_is_no_json_object_is_a_400(client: httpx.Client, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    r = client.post("/v1/chat/completions", content=body, headers=headers)
    assert r.status_code == 400
    assert r.json()["error"]["code"] == "INVALID_PARAMETER"


def test_unknown_model_path_and_method_have_the_one_body(client: httpx.Client) -> None:
    r = client.post("/v1/chat/completions", json=HELLO | {"model": "gpt-4"})
    assert_error(r, 404, "MODEL_NOT_FOUND", "model")
    assert_error(client.get("/v1/nothing"), 404, "NOT_FOUND")
    for path, method, allowed in [
        ("/v1/chat/completions", "GET", "POST"),
        ("/v1/models", "POST", "GET"),
        ("/health", "POST", "GET"),
    ]:
        r = client.request(method, path)
        assert_error(r, 405, "METHOD_NOT_ALLOWED")
        assert allowed in r.headers["allow"]


def test_a_body_over_the_limit_or_of_another_kind_is_refused(client: httpx.Client) -> None:
    big = json.dumps(HELLO | {"user": "x" * 9_000_000}).encode()
    headers = {"Content-Type": "application/json"}
    r = client.post("/v1/chat/completions", content=big, headers=headers)
    assert_error(r, 413, "REQUEST_TOO_LARGE")
    r = client.post("/v1/chat/completions", content=b"a=b", headers={"Content-Type": "text/plain"})
    assert_error(r, 415, "UNSUPPORTED_MEDIA_TYPE")


def test_the_context_counts_input_and_explicit_output(client: httpx.Client) -> None:
    long = {"model": "tiny", "messages": [{"role": "user", "content": ("word " * 30).strip()}]}
    error = assert_error(
        client.post("/v1/chat/completions", json=long), 400, "CONTEXT_LENGTH_EXCEEDED", "messages"
    )
    assert error["details"] == {"prompt_tokens": 31, "max_tokens": None, "context_tokens": 20}
    some = {"model": "tiny", "messages": [{"role": "user", "content": ("word " * 14).strip()}]}
    error = assert_error(
        client.post("/v1/chat/completions", json=some | {"max_tokens": 10}),
        400, "CONTEXT_LENGTH_EXCEEDED", "max_tokens",
    )  # fmt: skip
    assert error["details"] == {"prompt_tokens": 15, "max_tokens": 10, "context_tokens": 20}
    body = client.post("/v1/chat/completions", json=some).json()
    assert body["usage"]["completion_tokens"] == 5
    assert body["choices"][0]["finish_reason"] == "length"


def test_answers_carry_request_id_and_rate_limit_headers(client: httpx.Client) -> None:
    r = client.post("/v1/chat/completions", json=HELLO, headers={"X-Request-Id": "mine-1"})
    assert r.headers["x-request-id"] == "mine-1"
    assert r.headers["x-ratelimit-limit"] == "1000"
    assert int(r.headers["x-ratelimit-remaining"]) < 1000
    assert int(r.headers["x-ratelimit-reset"]) >= int(time.time())
    other = client.get("/v1/models")
    assert other.headers["x-request-id"] not in ("", "mine-1")
    assert other.headers["x-ratelimit-limit"] == "1000"


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_stops_its_generation_within_a_second(
    served: Served, stream: bool
) -> None:
    engine = served.front.fleet._by_alias["slow"]
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


def test_openai_client_reads_whole_streamed_and_failed_answers(served: Served) -> None:
    with openai.OpenAI(base_url=served.url + "/v1", api_key=served.key, max_retries=0) as client:
        messages: Any = HELLO["messages"]
        whole = client.chat.completions.create(model="mixtral-8x7b", messages=messages)
        assert whole.choices[0].message.content == "Hi you"
        parts = client.chat.completions.create(model="mixtral-8x7b", messages=messages, stream=True)
        assert "".join(c.choices[0].delta.content or "" for c in parts) == "Hi you"
        assert "mixtral-8x7b" in [m.id for m in client.models.list()]
        assert client.models.retrieve("tiny").id == "tiny"
        with pytest.raises(openai.NotFoundError) as e:
            client.chat.completions.create(model="nosuch", messages=messages)
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
