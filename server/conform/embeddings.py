"""Checks: vectors, where a model makes them (--embedding-model)."""

import base64
import struct
from typing import Any

from server.conform import expect
from server.conform.check import declared
from server.conform.target import EMBEDDINGS, Target
from server.conform.unmet import Skipped

TEXT = "Oslo er hovedstaden i Norge."


@declared("embed-shape")
def shape(t: Target) -> None:
    """One text gives a list of one vector, with usage"""
    body = _made(t, TEXT)
    expect.equal("object", body.get("object"), "list")
    expect.equal("model", body.get("model"), t.options.embedding_model)
    first = body["data"][0]
    expect.equal("object", first.get("object"), "embedding")
    expect.equal("index", first.get("index"), 0)
    expect.that(all(isinstance(x, float | int) for x in first["embedding"]), "numbers", first)
    usage = body.get("usage") or {}
    counted = expect.is_count(usage.get("prompt_tokens")) and usage["prompt_tokens"] > 0
    expect.that(counted, "usage.prompt_tokens", usage)
    expect.equal("total_tokens", usage.get("total_tokens"), usage["prompt_tokens"])


@declared("embed-shape")
def several(t: Target) -> None:
    """A list of texts gives as many vectors, in order; the same text the same vector"""
    rows = _made(t, [TEXT, "Fisk", TEXT])["data"]
    expect.equal("indices", [r["index"] for r in rows], [0, 1, 2])
    gap = max(abs(a - b) for a, b in zip(rows[0]["embedding"], rows[2]["embedding"], strict=True))
    expect.that(gap < 1e-2, "the same vector", gap)


@declared("embed-base64")
def as_base64(t: Target) -> None:
    """encoding_format base64 is the same vector as little-endian float32"""
    plain = _made(t, TEXT)["data"][0]["embedding"]
    packed = base64.b64decode(_made(t, TEXT, encoding_format="base64")["data"][0]["embedding"])
    values = struct.unpack(f"<{len(packed) // 4}f", packed)
    expect.equal("numbers", len(values), len(plain))
    gap = max(abs(a - b) for a, b in zip(plain, values, strict=True))
    expect.that(gap < 1e-2, "the same numbers", gap)


@declared("embed-refused")
def refused(t: Target) -> None:
    """Without input, or with an empty list: 400 naming input"""
    model = _model(t)
    for body in ({"model": model}, {"model": model, "input": []}):
        error = expect.refused(t.post(EMBEDDINGS, body), 400, "INVALID_PARAMETER")
        expect.equal("error.param", error.get("param"), "input")


@declared("embed-refused")
def own_length(t: Target) -> None:
    """dimensions equal to the vectors' own length is taken"""
    length = len(_made(t, TEXT)["data"][0]["embedding"])
    again = len(_made(t, TEXT, dimensions=length)["data"][0]["embedding"])
    expect.equal("numbers", again, length)


@declared("embed-context")
def over_the_context(t: Target) -> None:
    """An input that is too long is named by its index"""
    for given, place in ((["Oslo", "fjord " * 300_000], "input[1]"), ("fjord " * 300_000, "input")):
        answer = t.post(EMBEDDINGS, {"model": _model(t), "input": given})
        error = expect.refused(answer, 400, "CONTEXT_LENGTH_EXCEEDED")
        expect.equal("error.param", error.get("param"), place)


@declared("embed-shape")
def token_arrays(t: Target) -> None:
    """One array of token ids is one input, an array of such arrays as many"""
    for given, count in (([1, 2, 3], 1), ([[1, 2], [3]], 2)):
        body = _made(t, given)
        expect.equal("vectors", len(body["data"]), count)
        expect.equal("prompt_tokens", body["usage"]["prompt_tokens"], 3)


@declared("embed-truncate")
def cut(t: Target) -> None:
    """truncate_prompt_tokens and truncate cut a longer input; out of range: 400 naming it"""
    model, long = _model(t), "fjord " * 30_000
    for side in (None, "left", "right"):
        usage = _made(t, long, truncate_prompt_tokens=8, truncation_side=side)["usage"]
        expect.equal("prompt_tokens", usage["prompt_tokens"], 8)
    for fields in ({"truncate_prompt_tokens": -1}, {"truncate": True}, {"truncate": "END"}):
        expect.that(len(_made(t, long, **fields)["data"]) == 1, "a vector", fields)
    for name, value in (("truncate_prompt_tokens", -2), ("truncate", "end")):
        answer = t.post(EMBEDDINGS, {"model": model, "input": TEXT, name: value})
        error = expect.refused(answer, 400, "INVALID_PARAMETER")
        expect.equal("error.param", error.get("param"), name)


def _model(t: Target) -> str:
    if t.options.embedding_model is None:
        raise Skipped("name a model that makes vectors with --embedding-model")
    return t.options.embedding_model


def _made(t: Target, source: Any, **fields: Any) -> Any:
    body = {"model": _model(t), "input": source} | fields
    return expect.ok(t.post(EMBEDDINGS, body))
