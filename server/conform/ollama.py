"""Checks: Ollama's API, where a server speaks it."""

import json
from collections.abc import Mapping
from typing import Any, Final

import httpx

from server.conform import expect
from server.conform.check import declared
from server.conform.target import HELLO, Target
from server.conform.unmet import Skipped

CHAT: Final = "/api/chat"
GENERATE: Final = "/api/generate"
VERSION: Final = "/api/version"
_OPTIONS: Final[Mapping[str, Any]] = {"temperature": 0, "seed": 7, "num_predict": 6}
_COUNTS: Final = ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration")


def _spoken(t: Target) -> None:
    if t.get(VERSION).status_code == 404:
        raise Skipped("this server does not speak Ollama's API")


def _asked(t: Target, path: str, **fields: Any) -> httpx.Response:
    """The usual question, in that path's form."""
    _spoken(t)
    said = {"messages": list(HELLO)} if path == CHAT else {"prompt": "Hi you"}
    return t.post(path, {"model": t.model, **said, "options": dict(_OPTIONS)} | fields)


def _lines(t: Target, path: str, **fields: Any) -> list[dict[str, Any]]:
    answer = _asked(t, path, **fields)
    expect.status(answer, 200)
    kind = answer.headers.get("content-type", "")
    expect.that(kind.startswith("application/x-ndjson"), "application/x-ndjson", kind)
    return [json.loads(line) for line in answer.text.splitlines()]


def _text(line: dict[str, Any]) -> str:
    return str(line["message"]["content"] if "message" in line else line["response"])


def _ends(last: dict[str, Any]) -> None:
    expect.equal("done", last.get("done"), True)
    expect.one_of("done_reason", last.get("done_reason"), ("stop", "length"))
    for name in (*_COUNTS, "prompt_eval_count", "eval_count"):
        expect.that(expect.is_count(last.get(name)), name, last)


@declared("ol-version")
def version(t: Target) -> None:
    """/api/version is numbers between dots, 0.6.4 at least"""
    _spoken(t)
    parts = str(t.get(VERSION).json().get("version")).split(".")
    expect.that(all(part.isdigit() for part in parts), "numbers", parts)
    expect.that([int(part) for part in parts] >= [0, 6, 4], "0.6.4 or newer", parts)


@declared("ol-stream")
def chat_streams(t: Target) -> None:
    """/api/chat streams lines of JSON unasked; the last one is done and counts"""
    *pieces, last = _lines(t, CHAT)
    expect.that(bool(pieces), "a line before the last", last)
    for piece in pieces:
        expect.equal("done", piece.get("done"), False)
        expect.equal("role", piece["message"].get("role"), "assistant")
        expect.equal("model", piece.get("model"), t.model)
    _ends(last)


@declared("ol-stream")
def generate_streams(t: Target) -> None:
    """/api/generate does the same, with its text in response"""
    *pieces, last = _lines(t, GENERATE)
    expect.that(all(isinstance(p.get("response"), str) for p in pieces), "response", pieces[:1])
    _ends(last)


@declared("ol-whole", alone=True)
def whole_is_the_stream(t: Target) -> None:
    """With stream false the answer is whole, and the sum of its stream"""
    for path in (CHAT, GENERATE):
        answer = _asked(t, path, stream=False)
        expect.status(answer, 200)
        whole = answer.json()
        expect.equal(path, "".join(map(_text, _lines(t, path))), _text(whole))
        _ends(whole)


@declared("ol-num-predict")
def num_predict(t: Target) -> None:
    """options.num_predict bounds the answer, and is never too much"""
    last = _lines(t, CHAT, options={**_OPTIONS, "num_predict": 2})[-1]
    expect.that(last["eval_count"] <= 2, "at most 2 tokens", last)
    expect.status(_asked(t, CHAT, messages=[], options={"num_predict": 2**31 - 1}), 200)


@declared("ol-load")
def nothing_said_loads(t: Target) -> None:
    """Without messages, or a prompt, the model is loaded and nothing is said"""
    for path in (CHAT, GENERATE):
        answer = _asked(t, path, messages=None, prompt=None, stream=False).json()
        expect.equal("done_reason", answer.get("done_reason"), "load")
        expect.equal("text", _text(answer), "")


@declared("ol-keep-alive")
def keep_alive(t: Target) -> None:
    """keep_alive is a duration or seconds; what is neither is a 400"""
    for value in ("5m", "1h30m", 300, -1, "0"):
        expect.status(_asked(t, CHAT, stream=False, keep_alive=value), 200)
    expect.status(_asked(t, CHAT, keep_alive="a while"), 400)


@declared("ol-format")
def a_form(t: Target) -> None:
    """format takes a JSON schema"""
    schema = {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}},
        "required": ["ok"],
        "additionalProperties": False,
    }
    options = {**_OPTIONS, "num_predict": 40}
    answer = _asked(t, CHAT, stream=False, format=schema, options=options)
    t.unless_refused(answer, "forms")
    expect.equal("members", list(json.loads(_text(answer.json()))), ["ok"])


@declared("ol-errors")
def errors(t: Target) -> None:
    """Every refusal is {"error": "…"} with its status"""
    _spoken(t)
    nobody = t.post(CHAT, {"model": "no-such-model", "messages": list(HELLO)})
    hot = _asked(t, CHAT, options={"temperature": 5})
    strange = t.send(b"{", path=CHAT)
    keyless = t.post(CHAT, {"model": t.model, "messages": list(HELLO)}, headers={})
    for answer, status in ((nobody, 404), (hot, 400), (strange, 400), (keyless, 401)):
        expect.status(answer, status)
        expect.equal("members", list(answer.json()), ["error"])
        expect.that(isinstance(answer.json()["error"], str), "a text", answer.text)
    expect.that("options.temperature" in hot.json()["error"], "its field", hot.text)


@declared("ol-tags")
def tags(t: Target) -> None:
    """/api/tags and /api/ps list models by name and model; /api/tags all that the key may use"""
    _spoken(t)
    listed = t.get("/api/tags").json()["models"]
    expect.equal("names", sorted(m["name"] for m in listed), sorted(t.models))
    for model in [*listed, *t.get("/api/ps").json()["models"]]:
        expect.equal("model", model["model"], model["name"])
        expect.that(isinstance(model["details"], dict), "details", model)


@declared("ol-show")
def show(t: Target) -> None:
    """/api/show tells capabilities and the context's length"""
    _spoken(t)
    shown = t.post("/api/show", {"model": t.model}).json()
    expect.that("completion" in shown["capabilities"], "completion", shown["capabilities"])
    kind = shown["model_info"]["general.architecture"]
    length = shown["model_info"].get(f"{kind}.context_length")
    expect.that(expect.is_count(length), "a context length", shown["model_info"])


@declared("ol-embed")
def embed(t: Target) -> None:
    """/api/embed and /api/embeddings make the same vector"""
    model = t.options.embedding_model
    if model is None:
        raise Skipped("no --embedding-model was given")
    _spoken(t)
    new = t.post("/api/embed", {"model": model, "input": "Oslo"}).json()["embeddings"]
    old = t.post("/api/embeddings", {"model": model, "prompt": "Oslo"}).json()["embedding"]
    gap = max(abs(a - b) for a, b in zip(new[0], old, strict=True))
    expect.that(gap < 1e-2, "the same vector", gap)


@declared("ol-operator")
def models_are_the_operators(t: Target) -> None:
    """pull succeeds for what is served; what would change models is refused"""
    _spoken(t)
    expect.equal("pull", t.post("/api/pull", {"model": t.model}).json(), {"status": "success"})
    expect.status(t.post("/api/pull", {"model": "no-such-model"}), 404)
    body = {"model": t.model}
    for path in ("/api/create", "/api/copy", "/api/push"):
        expect.status(t.post(path, body), 403)
    expect.status(t.http.request("DELETE", "/api/delete", json=body, headers=t.auth), 403)
