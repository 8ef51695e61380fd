"""What clients ask and are told is in their answers alone, or sealed where they have it kept. After
a thousand requests of all kinds every file, log line, metric, span and operator's page is searched.
"""

import json
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.collectors import collecting
from tests.support.serve_process import Server, serving
from tests.support.serving import wait_until

pytestmark = pytest.mark.slow

MARK = "zqxvj7319"
SAID = f"Tell nobody of {MARK}"
REGISTRY = """\
models:
  m: {source: echo, engine: scripted, context: 4K, output: 1K, preload: true}
  dies: {source: dies, engine: scripted, args: {die_after_tokens: 1}, context: 4K, output: 1K}
  embeds: {source: embeds, engine: scripted, task: embed, context: 4K, preload: true}
  ranks: {source: ranks, engine: scripted, task: rerank, context: 4K, preload: true}
profiles:
  embedded: {}
"""
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": f"find_{MARK}",
        "description": SAID,
        "parameters": {"type": "object", "properties": {MARK: {"type": "string"}}},
    },
}
SCHEMA = {"name": MARK, "schema": {"type": "object", "properties": {MARK: {"const": SAID}}}}
MESSAGES = [{"role": "system", "content": SAID}, {"role": "user", "content": f"{SAID}?"}]
CHAT: dict[str, Any] = {"model": "m", "messages": MESSAGES}
REQUESTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/v1/chat/completions", CHAT),
    ("/v1/chat/completions", CHAT | {"stream": True, "stop": [MARK * 2]}),
    ("/v1/chat/completions", CHAT | {"tools": [TOOL]}),
    ("/v1/chat/completions", CHAT | {"tools": [TOOL], "tool_choice": TOOL, "stream": True}),
    (
        "/v1/chat/completions",
        CHAT | {"response_format": {"type": "json_schema", "json_schema": SCHEMA}},
    ),
    ("/v1/chat/completions", CHAT | {"logprobs": True, "top_logprobs": 3}),
    ("/v1/chat/completions", CHAT | {"temperature": SAID}),
    ("/v1/chat/completions", CHAT | {"messages": [{"role": MARK, "content": SAID}]}),
    ("/v1/chat/completions", CHAT | {"unknown": SAID}),
    ("/v1/completions", {"model": "m", "prompt": [SAID, SAID], "echo": True}),
    ("/v1/completions", {"model": "m", "prompt": SAID, "suffix": SAID}),
    ("/v1/responses", {"model": "m", "input": SAID, "store": False, "instructions": SAID}),
    ("/v1/responses", {"model": "m", "input": SAID, "metadata": {"a": MARK}}),
    ("/v1/responses", {"model": "m", "input": SAID, "stream": True}),
    ("/v1/responses", {"model": "m", "input": SAID, "background": True}),
    ("/v1/conversations", {"items": [{"role": "user", "content": SAID}], "metadata": {"a": MARK}}),
    ("/v1/messages", CHAT | {"max_tokens": 20, "messages": MESSAGES[1:], "system": SAID}),
    ("/v1/messages/count_tokens", {"model": "m", "messages": MESSAGES[1:]}),
    ("/v1/tokenize", {"model": "m", "prompt": SAID}),
    ("/v1/embeddings", {"model": "embeds", "input": [SAID, SAID]}),
    ("/v1/rerank", {"model": "ranks", "query": SAID, "documents": [SAID, f"{SAID}!"]}),
    ("/v1/score", {"model": "ranks", "text_1": SAID, "text_2": SAID}),
    ("/api/chat", CHAT),
    ("/api/generate", {"model": "m", "prompt": SAID, "system": SAID}),
    ("/api/embed", {"model": "embeds", "input": SAID}),
)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[Server, str, list[bytes]]]:
    """A server that says all it can, and what its collector of traces has got."""
    (tmp_path / "model_registry.yaml").write_text(REGISTRY)
    with (
        collecting() as collector,
        serving(
            tmp_path,
            FJORD_LOG_LEVEL="debug",
            FJORD_OTLP_ENDPOINT=collector.url,
            FJORD_REQUESTS_PER_MINUTE="100000",
            FJORD_BACKGROUND_OPEN="1000",
        ) as server,
    ):
        url = server.url()
        server.until("Ready")
        yield server, url, collector.bodies


def sent(client: httpx.Client, count: int) -> set[int]:
    """So many requests, each kind as often as the others, some with an Idempotency-Key."""

    def send(number: int) -> int:
        path, body = REQUESTS[number % len(REQUESTS)]
        headers = {"Idempotency-Key": f"again-{number // 2}"} if number % 7 == 0 else {}
        return client.post(path, json=body, headers=headers).status_code

    with ThreadPoolExecutor(16) as threads:
        return set(threads.map(send, range(count)))


def batch_made_and_deleted(client: httpx.Client) -> None:
    line: dict[str, Any] = {
        "custom_id": MARK,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": CHAT,
    }
    text = "\n".join(json.dumps(line | {"custom_id": f"{MARK}{n}"}) for n in range(20))
    file = {"file": (f"{MARK}.jsonl", text.encode())}
    made = client.post("/v1/files", data={"purpose": "batch"}, files=file).json()
    body = {"input_file_id": made["id"], "endpoint": line["url"], "completion_window": "24h"}
    batch = client.post("/v1/batches", json=body).json()

    def now() -> dict[str, Any]:
        found: dict[str, Any] = client.get(f"/v1/batches/{batch['id']}").json()
        return found

    wait_until(lambda: now()["status"] == "completed", "the batch ends")
    output = now()["output_file_id"]
    assert MARK in client.get(f"/v1/files/{output}/content").text
    for file_id in (made["id"], output):
        assert client.delete(f"/v1/files/{file_id}").status_code == 200


def where(folder: Path) -> list[str]:
    """Files in whose bytes, or names, the mark stands."""
    return [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if MARK in path.name or (path.is_file() and MARK.encode() in path.read_bytes())
    ]


def test_a_mark_is_in_no_file_log_metric_or_trace(
    running: tuple[Server, str, list[bytes]], tmp_path: Path
) -> None:
    server, url, traces = running
    headers = {"X-API-Key": server.key()}
    with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
        batch_made_and_deleted(client)
        statuses = sent(client, 1000)
        died = client.post("/v1/chat/completions", json=CHAT | {"model": "dies"})
        assert died.status_code >= 500
        assert {200, 400} <= statuses <= {200, 400, 422, 429, 500, 502, 503}, statuses
        kept = client.post("/v1/responses", json={"model": "m", "input": SAID}).json()
        assert MARK in client.get(f"/v1/responses/{kept['id']}").text  # its client has it still
        operator = (tmp_path / "data/operator_token").read_text().strip()
        pages = ("/metrics", "/ready", "/", "/admin/v1/models", "/admin/v1/keys", "/admin/v1/usage")
        told = {p: client.get(p, headers={"X-API-Key": operator}).text for p in pages}
    assert [page for page, text in told.items() if MARK in text] == []
    wait_until(lambda: len(traces) > 0, "traces are sent")
    assert where(tmp_path) == []  # while it runs
    assert server.ends(signal.SIGTERM) == 0
    server.reader.join()
    while not server.lines.empty():
        server.said.append(server.lines.get())
    assert len(server.said) > 1000
    assert [line for line in server.said if MARK in line] == []
    assert [body for body in traces if MARK.encode() in body] == []
    assert where(tmp_path) == []
