"""A refused request's log line says why: code, field, model; never what was sent."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.serve_process import Server, serving, with_registry

pytestmark = pytest.mark.slow  # a process of its own


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(with_registry(tmp_path_factory.mktemp("running"))) as server:
        server.until("Ready")
        yield server


def body(**fields: Any) -> dict[str, Any]:
    return {"model": "tiny", "messages": [{"role": "user", "content": "secret words"}], **fields}


CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(
    ("path", "content", "facts"),
    [
        (CHAT, body(temperature=9), {"field": "temperature", "model": "tiny"}),
        (CHAT, body(max_tokens="x"), {"field": "max_tokens", "model": "tiny"}),
        (CHAT, body(model="x" * 5000), {"field": "model", "model": "x" * 128}),
        (CHAT, body(region="mars"), {"field": "region", "model": "tiny"}),
        (CHAT, body(tools=3, model=7), {}),
        ("/v1/completions", {"model": "tiny", "prompt": 3}, {"field": "prompt", "model": "tiny"}),
        ("/v1/embeddings", {"model": "tiny", "input": "x"}, {"field": "model", "model": "tiny"}),
        ("/v1/responses", {"model": "tiny", "input": 3}, {"field": "input", "model": "tiny"}),
        ("/v1/tokenize", {"model": "tiny"}, {"model": "tiny"}),
        ("/v1/nowhere", {}, {}),
        ("/nowhere", {}, {}),
    ],
)
def test_the_line_names_code_field_and_model(
    running: Server, path: str, content: dict[str, Any], facts: dict[str, str]
) -> None:
    url = f"http://127.0.0.1:{running.port}"
    answer = httpx.post(url + path, json=content, headers={"X-API-Key": running.key()})
    assert answer.status_code >= 400
    running.until(f'"request_id":"{answer.headers["x-request-id"]}"')
    line = json.loads(running.said[-1])
    assert line["status"] == answer.status_code
    assert line["code"] == answer.json()["error"]["code"]
    assert {name: line.get(name) for name in facts} == facts
    assert "secret words" not in running.said[-1]


def test_a_refused_key_is_a_code_too(running: Server) -> None:
    url = f"http://127.0.0.1:{running.port}{CHAT}"
    answer = httpx.post(url, json=body(), headers={"X-API-Key": "wrong"})
    running.until(f'"request_id":"{answer.headers["x-request-id"]}"')
    assert json.loads(running.said[-1])["code"] == "AUTH_FAILED"
