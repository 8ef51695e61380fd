"""Checks: a request with an Idempotency-Key that comes again."""

import secrets
from collections.abc import Mapping
from typing import Any, Final

import httpx

from server.conform import expect
from server.conform.check import declared
from server.conform.target import CHAT, COMPLETIONS, FILES, RESPONSES, Target
from server.conform.unmet import Skipped

REPLAYED: Final = "idempotency-replayed"
REUSED: Final = "IDEMPOTENCY_KEY_REUSED"


@declared("head-idempotency")
def same_answer(t: Target) -> None:
    """The same key and body: the same bytes, whole and streamed, and Idempotency-Replayed"""
    for path, said in (
        (CHAT, t.body(max_tokens=4)),
        (COMPLETIONS, {"model": t.model, "prompt": "Hi", "max_tokens": 4}),
        (RESPONSES, {"model": t.model, "input": "Hi", "max_output_tokens": 4}),
    ):
        for stream in (False, True):
            first, again = _twice(t, path, said | {"stream": stream})
            expect.equal("the bytes", again.content, first.content)
            flags = [REPLAYED in answer.headers for answer in (first, again)]
            expect.equal("Idempotency-Replayed", flags, [False, True])


@declared("head-idempotency-body")
def other_body(t: Target) -> None:
    """The same key with another body: 422 naming the header"""
    headers = _keyed(t)
    expect.ok(t.post(CHAT, t.body(max_tokens=4), headers))
    refused = expect.refused(t.post(CHAT, t.body(max_tokens=5), headers), 422, REUSED)
    expect.equal("error.param", refused.get("param"), "Idempotency-Key")


@declared("head-idempotency-scope")
def other_path(t: Target) -> None:
    """The same key on another path is another request"""
    headers = _keyed(t)
    expect.ok(t.post(CHAT, t.body(max_tokens=4), headers))
    other = t.post(COMPLETIONS, {"model": t.model, "prompt": "Hi", "max_tokens": 4}, headers)
    expect.ok(other)
    expect.that(REPLAYED not in other.headers, "an answer of its own", dict(other.headers))


@declared("head-idempotency-failed")
def failed_first(t: Target) -> None:
    """A refused request leaves its key free"""
    headers = _keyed(t)
    for _ in range(2):
        expect.refused(t.post(CHAT, t.body(temperature=9), headers), 400, "INVALID_PARAMETER")
    expect.ok(t.post(CHAT, t.body(max_tokens=4), headers))


@declared("head-idempotency-form")
def form_of_a_key(t: Target) -> None:
    """A key that is empty, over 255 characters or no printable ASCII: 400"""
    for value in (b"", b"k" * 256, b"k\tk", "æ".encode()):
        headers: Mapping[Any, Any] = t.auth | {"Idempotency-Key": value}
        answer = t.http.post(CHAT, json=t.body(max_tokens=4), headers=headers)
        expect.refused(answer, 400, "INVALID_PARAMETER")


@declared("head-idempotency-upload")
def upload(t: Target) -> None:
    """A form of the same fields and bytes within another boundary: the same file; others: 422"""
    headers = _keyed(t)
    answers = [_sent(t, b"{}", boundary, headers) for boundary in ("one", "another")]
    if answers[0].status_code in (404, 405, 501):
        raise Skipped("this server has no files")
    ids = [expect.ok(answer)["id"] for answer in answers]
    for file_id in set(ids):
        t.http.delete(f"{FILES}/{file_id}", headers=t.auth)
    expect.equal("the file's id", ids[1], ids[0])
    expect.refused(_sent(t, b"{ }", "one", headers), 422, REUSED)


def _sent(t: Target, file: bytes, boundary: str, headers: Mapping[str, str]) -> httpx.Response:
    kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    form, files = {"purpose": "batch"}, {"file": ("in.jsonl", file)}
    return t.http.post(FILES, data=form, files=files, headers={**headers, **kind})


def _twice(t: Target, path: str, body: Any) -> tuple[httpx.Response, httpx.Response]:
    headers = _keyed(t)
    first, again = (t.post(path, body, headers) for _ in range(2))
    for answer in (first, again):
        expect.equal("status", answer.status_code, 200)
    return first, again


def _keyed(t: Target) -> dict[str, str]:
    return {**t.auth, "Idempotency-Key": f"conform-{secrets.token_hex(8)}"}
