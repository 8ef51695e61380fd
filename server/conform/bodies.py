"""Checks: bodies that are no chat request at all get a clear refusal, never a 500."""

import json

from server.conform import expect
from server.conform.check import Check, declared
from server.conform.target import CHAT, Target

NO_OBJECT: tuple[tuple[str, bytes], ...] = (
    ("empty", b""),
    ("cut", b'{"model": "m", "mess'),
    ("an array", b"[]"),
    ("not UTF-8", b'{"model": "\xff\xfe"}'),
    ("NaN", b'{"model": "m", "messages": [], "temperature": NaN}'),
    ("nested 5,000 deep", b"[" * 5000),
)
SIXTEEN_MIB = 16 * 2**20


def _refused(name: str, body: bytes) -> Check:
    def run(t: Target) -> None:
        expect.refused(t.send(body), 400, "INVALID_PARAMETER")

    return Check(
        id=f"bodies.{name.replace(' ', '_').replace(',', '')}",
        title=f"A body that is {name}: 400",
        source="declared",
        rule="error-json",
        run=run,
    )


REFUSED = tuple(_refused(name, body) for name, body in NO_OBJECT)


@declared("error-json")
def lone_surrogate(t: Target) -> None:
    """Half a character in a message: 400 or an answer"""
    body = json.dumps(t.body(messages=t.said("a \ud83d b")))
    expect.status(t.send(body.encode()), 200, 400)


@declared("error-json")
def duplicate_keys(t: Target) -> None:
    """A key that comes twice: 400 or an answer"""
    body = json.dumps(t.body(max_tokens=2))
    expect.status(t.send(b'{"model": "no-such-model", ' + body[1:].encode()), 200, 400, 404)


@declared("error-type")
def charset(t: Target) -> None:
    """application/json; charset=utf-8 is taken"""
    body = json.dumps(t.body(messages=t.said("Blåbær"))).encode()
    expect.status(t.send(body, "application/json; charset=utf-8"), 200)


@declared("error-type")
def another_type(t: Target) -> None:
    """A body of another type: 415 UNSUPPORTED_MEDIA_TYPE"""
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        expect.refused(t.send(b"model=x", kind), 415, "UNSUPPORTED_MEDIA_TYPE")


@declared("error-size")
def too_large(t: Target) -> None:
    """A body of 16 MiB: 413 REQUEST_TOO_LARGE"""
    body = t.body(user="x" * SIXTEEN_MIB)
    expect.refused(t.post(CHAT, body), 413, "REQUEST_TOO_LARGE")
    expect.status(t.chat(max_tokens=1), 200)


@declared("field-content")
def many_characters(t: Target) -> None:
    """Norwegian, Chinese, joined emoji and control characters are read"""
    for text in ("Blåbærsyltetøy på Ærøskøbing", "你好，世界", "👩‍👩‍👧‍👦 🇳🇴", "a\u0000b\u2028c"):
        expect.content(t.chat(messages=t.said(text), max_tokens=2))


@declared("field-content")
def empty_message(t: Target) -> None:
    """An empty message is read"""
    expect.content(t.chat(messages=t.said(""), max_tokens=2))
