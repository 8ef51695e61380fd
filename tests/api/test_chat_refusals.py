"""What the documented endpoints refuse: every failure has its code, its field and the one body."""

import json
from typing import Any

import httpx
import pytest

from tests.support.serving import Served, scripted, server_of
from tests.support.wire_checks import assert_error

HELLO: dict[str, Any] = {
    "model": "mixtral-8x7b",
    "messages": [{"role": "user", "content": "Hi you"}],
}

served = server_of(
    scripted("mixtral-8x7b"),
    scripted("tiny", context_tokens=20, output_tokens=10),
)


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


@pytest.mark.parametrize("kind", ["string", "array", ["string", "null"], 5])
@pytest.mark.parametrize("choice", ["auto", "required"])
def test_a_tool_whose_arguments_are_no_object_is_refused(
    client: httpx.Client, kind: Any, choice: str
) -> None:
    function = {"name": "f", "parameters": {"type": kind}}
    chat = HELLO | {"tools": [{"type": "function", "function": function}], "tool_choice": choice}
    answer = client.post("/v1/chat/completions", json=chat)
    error = assert_error(answer, 400, "INVALID_PARAMETER", "tools")
    assert error["details"]["expected"] == "the schema of an object"
    flat = {"model": chat["model"], "input": "Hi", "tools": [{"type": "function", **function}]}
    assert_error(client.post("/v1/responses", json=flat), 400, "INVALID_PARAMETER", "tools")


@pytest.mark.parametrize("choice", ["auto", "none", "required"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/tokenize"])
def test_two_tools_of_one_name_are_refused_by_it(
    client: httpx.Client, path: str, stream: bool, choice: str
) -> None:
    tools = [{"type": "function", "function": {"name": name}} for name in ("a", "twice", "twice")]
    chat = HELLO | {"tools": tools, "tool_choice": choice, "stream": stream}
    if path == "/v1/tokenize":
        chat = {"model": chat["model"], "messages": chat["messages"], "tools": tools}
    error = assert_error(client.post(path, json=chat), 400, "INVALID_PARAMETER", "tools")
    assert error["details"]["provided"] == "twice"
