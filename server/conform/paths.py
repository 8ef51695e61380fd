"""Checks: every documented path and name answers."""

from server.conform import expect
from server.conform.check import declared, documented
from server.conform.target import (
    CHAT_PATHS,
    EMBEDDING_PATHS,
    FIXED,
    MODEL_PATHS,
    MODELS,
    RERANK_PATHS,
    SCORE_PATHS,
    Target,
)
from server.conform.unmet import Unmet


@documented("ep-models")
def models_under_llm(t: Target) -> None:
    """GET /v1/llm/models answers"""
    expect.ok(t.get(MODEL_PATHS[0]))


@documented("ep-models")
def models(t: Target) -> None:
    """GET /v1/models answers"""
    expect.ok(t.get(MODELS))


@documented("ep-chat")
def chat_under_llm(t: Target) -> None:
    """POST /v1/llm/chat answers"""
    expect.content(t.chat(CHAT_PATHS[0]))


@documented("ep-chat")
def chat_completions_under_llm(t: Target) -> None:
    """POST /v1/llm/chat/completions answers"""
    expect.content(t.chat(CHAT_PATHS[1]))


@documented("ep-chat")
def chat_completions(t: Target) -> None:
    """POST /v1/chat/completions answers"""
    expect.content(t.whole)


@documented("ep-chat", alone=True)
def three_names_of_one_operation(t: Target) -> None:
    """The three chat paths give one answer"""
    said = [expect.content(t.chat(p, **FIXED, max_tokens=8)) for p in CHAT_PATHS]
    expect.that(len(set(said)) == 1, "the same text three times", said)


@documented("ep-chat")
def three_names_stream(t: Target) -> None:
    """The three chat paths stream"""
    for path in CHAT_PATHS:
        answer = t.stream(path)
        expect.status(answer, 200)
        expect.that(answer.events[-1:] == ["[DONE]"], f"[DONE] at the end on {path}", answer.text)


@documented("ep-embeddings")
def embeddings(t: Target) -> None:
    """POST /v1/llm/embeddings and /v1/embeddings are there"""
    model = t.options.embedding_model or t.model
    for path in EMBEDDING_PATHS:
        answer = t.post(path, {"model": model, "input": "Hei"})
        expect.status(answer, 200, 400)


@declared("ep-rerank")
def rerank(t: Target) -> None:
    """POST /v1/rerank, /v2/rerank, /rerank, /v1/score and /score are there"""
    model = t.options.rerank_model or t.model
    for path in RERANK_PATHS:
        answer = t.post(path, {"model": model, "query": "Hei", "documents": ["Oslo"]})
        expect.status(answer, 200, 400)
    for path in SCORE_PATHS:
        answer = t.post(path, {"model": model, "text_1": "Hei", "text_2": "Oslo"})
        expect.status(answer, 200, 400)


@declared("ep-one-model")
def one_model(t: Target) -> None:
    """GET /v1/models/{id} and /v1/llm/models/{id} tell of one model"""
    for path in MODEL_PATHS:
        expect.equal("id", expect.ok(t.get(f"{path}/{t.model}")).get("id"), t.model)


@declared("ep-ops")
def health(t: Target) -> None:
    """GET /health and /ready need no key"""
    expect.status(t.get("/health", headers={}), 200)
    ready = t.get("/ready", headers={})
    t.unless_refused(ready, "/ready on this port")
    expect.status(ready, 200)


@declared("ep-openapi")
def openapi(t: Target) -> None:
    """GET /openapi.json describes every documented path"""
    answer = t.get("/openapi.json")
    t.unless_refused(answer, "/openapi.json on this port")
    paths = expect.ok(answer).get("paths", {})
    missing = [p for p in (*CHAT_PATHS, *MODEL_PATHS, *EMBEDDING_PATHS) if p not in paths]
    if missing:
        raise Unmet("every documented path", f"without {', '.join(missing)}")
