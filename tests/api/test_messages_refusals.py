"""What /v1/messages refuses, and how: Anthropic's one body, its types, its headers."""

import json
from typing import Any

import httpx
import pytest

from engines.base import Reasoning
from tests.api.test_messages import ASK, VERSION, WEATHER
from tests.support.serving import Served, scripted, server_of, serving

served = server_of(
    scripted("m", tool_parser="hermes"),
    scripted("plain", tool_parser="none"),
    scripted("thinks", reasoning=Reasoning(), reasoning_text="So."),
    scripted("small", context_tokens=16, output_tokens=16),
)
CALL = {"type": "tool_use", "id": "t1", "name": "weather", "input": {}}
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}


def turn(role: str, *blocks: Any) -> dict[str, Any]:
    return {"messages": [*ASK["messages"], {"role": role, "content": list(blocks)}]}


def error_of(answer: httpx.Response, status: int, kind: str) -> str:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"type", "error", "request_id"}
    assert (body["type"], body["error"]["type"]) == ("error", kind)
    assert body["request_id"] == answer.headers["request-id"]
    assert answer.headers.get("x-should-retry") == (
        "false" if status < 500 and status != 429 else None
    )
    message = body["error"]["message"]
    assert isinstance(message, str)
    return message


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        (turn("user", PICTURE), "messages[1].content[0].type is 'image'"),
        (turn("user", {"type": "document"}), "messages[1].content[0].type is 'document'"),
        (turn("user", {"type": "text"}), "messages[1].content[0].text"),
        (turn("user", {"type": "thinking", "thinking": "x"}), "text or tool_result"),
        (turn("user", {"type": "tool_result", "tool_use_id": "no"}), "answers no call"),
        (turn("user", {"type": "tool_result"}), "messages[1].content[0].tool_use_id"),
        (turn("assistant", {"type": "tool_use", "name": "x"}), "messages[1].content[0].id"),
        (turn("assistant", {"type": "server_tool_use", "id": "1"}), "'server_tool_use'"),
        (turn("assistant", CALL), "their results are not there"),
        ({"system": [PICTURE]}, "system[0].type"),
        ({"system": 5}, "system"),
        ({"tools": [{"name": "a b", "input_schema": {}}]}, "tools[0].name"),
        ({"tools": [{"name": "x" * 129, "input_schema": {}}]}, "tools[0].name"),
        ({"tools": [{"name": "x"}]}, "tools[0].input_schema"),
        ({"tools": [{"name": "x", "input_schema": {"type": "array"}}]}, "tools[0].input_schema"),
        ({"tools": [WEATHER, WEATHER]}, "several tools of the name 'weather'"),
        (
            {"tools": [{"type": "web_search_20260209", "name": "web_search"}]},
            "no such tool runs here",
        ),
        ({"tools": [WEATHER], "tool_choice": {"type": "tool", "name": "no"}}, "not in tools"),
        ({"tools": [WEATHER], "tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"tool_choice": {"type": "any"}}, "tools is empty"),
        ({"tool_choice": {"type": "required"}}, "tool_choice.type"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "does not think"),
        ({"thinking": {"type": "maybe"}}, "thinking.type"),
        ({"mcp_servers": [{"type": "url"}]}, "mcp_servers"),
        ({"container": "c"}, "container is not supported"),
        ({"output_config": {"effort": "huge"}}, "output_config.effort"),
        ({"output_config": {"format": {"type": "text"}}}, "output_config.format.type"),
    ],
    ids=lambda x: x if isinstance(x, str) else None,
)
def test_what_cannot_be_honoured_names_its_field(
    client: httpx.Client, path: str, asked: dict[str, Any], words: str
) -> None:
    body = ASK | asked
    if path.endswith("count_tokens"):
        del body["max_tokens"]
    assert words in error_of(client.post(path, json=body), 400, "invalid_request_error")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 4097}, "max_tokens is 4097; m generates at most 4096"),
        ({"max_tokens": 2**31}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"temperature": 1.01}, "temperature: 1.01; expected a number from 0 to 1"),
        ({"temperature": -0.01}, "temperature"),
        ({"top_p": 1.01}, "top_p"),
        ({"top_k": -2}, "top_k"),
        ({"stop_sequences": [""]}, "stop_sequences"),
        ({"stop_sequences": ["x"] * 17}, "stop_sequences"),
        ({"stop_sequences": ["x"], "stop": "y"}, "stop and stop_sequences differ"),
        ({"stream": "yes"}, "stream"),
        ({"metadata": {"user_id": "x" * 513}}, "metadata.user_id"),
        ({"n": 2}, "n is not supported here"),
        ({"response_format": {"type": "json_object"}}, "use output_config.format"),
    ],
    ids=str,
)
def test_both_ends_of_what_is_drawn(
    client: httpx.Client, asked: dict[str, Any], words: str
) -> None:
    answer = client.post("/v1/messages", json=ASK | asked)
    assert words in error_of(answer, 400, "invalid_request_error")


@pytest.mark.parametrize(
    "asked",
    [
        {"max_tokens": 1},
        {"max_tokens": 4096},
        {"temperature": 0},
        {"temperature": 1},
        {"top_p": 0},
        {"top_p": 1},
        {"top_k": 0},
        {"top_k": 500},
        {"stop_sequences": []},
        {"stop_sequences": ["x"] * 16},
        {"metadata": {"user_id": "x" * 512}},
        {"metadata": {}},
        {"service_tier": "auto"},
        {"context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}},
        {"mcp_servers": []},
        {"thinking": {"type": "disabled"}},
        {"thinking": {"type": "between_tools"}},
        {"system": []},
        {"system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]},
        {"messages": [{"role": "system", "content": "Be brief."}, *ASK["messages"]]},
        {"messages": [*ASK["messages"], {"role": "assistant", "content": "Hei"}]},
        {"messages": [*ASK["messages"], {"role": "assistant", "content": []}]},
        {"messages": [{"role": "assistant", "content": []}]},
        {"messages": [{"role": "assistant", "content": [{"type": "redacted_thinking"}]}]},
        {"messages": [{"role": "user", "content": ""}]},
        {"messages": [{"role": "system", "content": []}]},
        {"tools": []},
        {"tools": [WEATHER | {"type": "custom", "eager_input_streaming": True}]},
        {"tools": [WEATHER], "tool_choice": {"type": "none"}},
        {"tools": [WEATHER], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
        {"speed": "fast", "inference_geo": "eu", "diagnostics": {"a": 1}},
    ],
    ids=str,
)
def test_what_clients_send_is_taken(client: httpx.Client, asked: dict[str, Any]) -> None:
    answer = client.post("/v1/messages", json=ASK | asked, headers=VERSION)
    assert answer.status_code == 200, answer.text


def test_each_status_has_its_type(client: httpx.Client, served: Served) -> None:
    stranger = {"x-api-key": "wayscloud_llm_wrong"}
    for path in ("/v1/messages", "/v1/messages/count_tokens"):
        url = served.url + path
        error_of(httpx.post(url, json=ASK, headers=stranger), 401, "authentication_error")
        error_of(httpx.get(url, headers=served.headers), 405, "invalid_request_error")
    assert "Unknown model" in error_of(
        client.post("/v1/messages", json=ASK | {"model": "no"}), 404, "not_found_error"
    )
    few = {"X-API-Key": served.new_key(models=frozenset({"plain"}))}
    answer = httpx.post(served.url + "/v1/messages", json=ASK, headers=few)
    error_of(answer, 403, "permission_error")
    huge = ASK | {"system": "x" * 9 * 2**20}
    error_of(client.post("/v1/messages", json=huge), 413, "request_too_large")
    broken = client.post("/v1/messages", content=b"{", headers={"content-type": "application/json"})
    error_of(broken, 400, "invalid_request_error")
    long = ASK | {"model": "small", "max_tokens": 8, "system": "x " * 40}
    assert "context" in error_of(
        client.post("/v1/messages", json=long), 400, "invalid_request_error"
    )
    for path in ("/v1/models", "/v1/models/no"):
        answer = httpx.get(served.url + path, headers=stranger | VERSION)
        error_of(answer, 401, "authentication_error")
    error_of(client.get("/v1/models/no", headers=VERSION), 404, "not_found_error")


def test_a_thread_is_refused_so_that_clients_go_on_without(client: httpx.Client) -> None:
    answer = client.post("/v1/messages", json=ASK | {"thread": {"type": "create"}})
    error_of(answer, 400, "invalid_request_error")
    details = answer.json()["error"]["details"]
    assert details == {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}
    assert client.post("/v1/messages", json=ASK | {"thread": None}).status_code == 200


def test_paths_that_are_none_are_refused_in_its_form(client: httpx.Client) -> None:
    error_of(client.post("/v1/messages/batches", json={}), 404, "not_found_error")
    error_of(client.put("/v1/messages", json={}), 405, "invalid_request_error")
    host = client.post("/v1/messages", json=ASK, headers={"Host": "a b"})
    error_of(host, 400, "invalid_request_error")
    ollama = client.get("/api/blobs/sha256:x")
    assert (ollama.status_code, list(ollama.json())) == (404, ["error"])


def test_what_is_overloaded_has_anthropics_status(tmp_path: Any) -> None:
    with serving(tmp_path, scripted("m"), settings={"queue_limit": 1}) as server:
        server.services.supervisor.draining = True
        url = server.url + "/v1/messages"
        answer = httpx.post(url, json=ASK, headers=server.headers)
        server.services.supervisor.draining = False
    error_of(answer, 529, "overloaded_error")
    assert int(answer.headers["retry-after"]) >= 1


def test_a_flood_is_a_rate_limit_error(tmp_path: Any) -> None:
    with serving(
        tmp_path, scripted("m"), settings={"requests_per_minute": 1, "burst": 0}
    ) as server:
        answers = [
            httpx.post(server.url + "/v1/messages", json=ASK, headers=server.headers)
            for _ in range(3)
        ]
    error_of(answers[-1], 429, "rate_limit_error")
    assert int(answers[-1].headers["retry-after"]) >= 1


def test_a_name_nobody_knows_comes_back_briefly(client: httpx.Client) -> None:
    for asked in ({"model": "x" * 100_000}, turn("user", {"type": "y" * 100_000})):
        answer = client.post("/v1/messages", json=ASK | asked)
        assert answer.status_code in (400, 404)
        assert len(answer.content) < 2_000
        assert json.loads(answer.content)["type"] == "error"
