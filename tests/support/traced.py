"""A server that exports its traces to a collector here, and what is asked of it."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from server.tracing import export
from tests.support.collectors import TakenSpan, TestCollector, collecting
from tests.support.serving import Served, scripted, serving

CHAT = "/v1/chat/completions"
SECRET = "Xyzzy"
SAID = [{"role": "user", "content": f"{SECRET} one two three"}]
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {"messages": SAID},
    "/v1/completions": {"prompt": f"{SECRET} one two three", "max_tokens": 5},
    "/v1/responses": {"input": f"{SECRET} one two three"},
    "/v1/embeddings": {"input": f"{SECRET} one two three"},
    "/v1/rerank": {"query": f"{SECRET} one", "documents": [f"{SECRET} two three"]},
    "/v1/score": {"text_1": f"{SECRET} one", "text_2": f"{SECRET} two three"},
    "/v1/tokenize": {"prompt": f"{SECRET} one two three"},
    "/v1/messages": {"messages": SAID, "max_tokens": 64},
    "/v1/messages/count_tokens": {"messages": SAID},
    "/api/chat": {"messages": SAID, "stream": False},
    "/api/generate": {"prompt": f"{SECRET} one two three", "stream": False},
    "/api/embed": {"input": f"{SECRET} one two three"},
}
OPERATIONS = {
    CHAT: "chat m",
    "/v1/completions": "text_completion m",
    "/v1/responses": "chat m",
    "/v1/embeddings": "embeddings e",
    "/v1/rerank": "rerank r",
    "/v1/score": "score r",
    "/v1/tokenize": "tokenize m",
    "/v1/messages": "chat m",
    "/v1/messages/count_tokens": "tokenize m",
    "/api/chat": "chat m",
    "/api/generate": "chat m",
    "/api/embed": "embeddings e",
}
GENERATION = ["queue", "prompt", "prefill", "decode", "settle"]
GENERATING = (
    *(CHAT, "/v1/completions", "/v1/responses"),
    *("/v1/messages", "/api/chat", "/api/generate"),
)
PHASES = dict.fromkeys(GENERATING, GENERATION) | {
    "/v1/embeddings": ["queue", "embed", "settle"],
    "/v1/rerank": ["queue", "score", "settle"],
    "/v1/score": ["queue", "score", "settle"],
    "/api/embed": ["queue", "embed", "settle"],
    "/v1/tokenize": ["queue", "tokenize"],
    "/v1/messages/count_tokens": ["queue", "tokenize"],
}
CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture(scope="module")
def collector() -> Iterator[TestCollector]:
    with pytest.MonkeyPatch.context() as patch, collecting() as running:
        patch.setattr(export, "EVERY_S", 0.02)
        yield running


@pytest.fixture(scope="module")
def served(collector: TestCollector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    models = [
        scripted("m"),
        scripted("slow", token_delay_s=0.05),
        scripted("e", task="embed"),
        scripted("r", task="rerank"),
        scripted("dying", die_after_tokens=2),
        scripted("broken", fail_load="no such file: /srv/secret/weights"),
    ]
    settings = {"otlp_endpoint": collector.url, "keep_alive_s": 0.2}
    with serving(tmp_path_factory.mktemp("data"), *models, settings=settings) as server:
        yield server


@pytest.fixture(autouse=True)
def nothing_before(collector: TestCollector) -> None:
    collector.bodies.clear()


def body(path: str, **fields: Any) -> dict[str, Any]:
    return {"model": OPERATIONS[path].split()[1], **BODIES[path], **fields}


def ask(served: Served, path: str = CHAT, **fields: Any) -> httpx.Response:
    headers = {**served.headers, **fields.pop("headers", {})}
    return httpx.post(served.url + path, headers=headers, json=body(path, **fields), timeout=30)


def trace_of(collector: TestCollector, path: str = CHAT) -> list[TakenSpan]:
    return collector.trace(f"POST {path}")


def flat(spans: list[TakenSpan]) -> str:
    return json.dumps([[span.name, span.state, dict(span.attributes)] for span in spans])
