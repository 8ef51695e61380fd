"""Checks: one error body, whatever fails."""

from typing import Any

import httpx

from server.conform import expect
from server.conform.check import declared, documented
from server.conform.target import CHAT, MODELS, Target

KINDS = ("parameter", "key", "model", "path", "method", "json")


def _failures(t: Target) -> dict[str, httpx.Response]:
    """One refusal of each kind."""
    return {
        "parameter": t.chat(temperature=9),
        "key": t.get(MODELS, {"X-API-Key": "unknown"}),
        "model": t.chat(model="no-such-model"),
        "path": t.get("/v1/no/such/path"),
        "method": t.get(CHAT),
        "json": t.send(b"{"),
    }


@documented("error-body")
def body(t: Target) -> None:
    """Every refusal is {"error": {"code", "message"}}, a code in words"""
    for kind, answer in _failures(t).items():
        error = expect.error_of(answer)
        for name in ("code", "message"):
            text = error.get(name)
            is_text = isinstance(text, str) and text != ""
            expect.that(is_text, f"error.{name} a text ({kind})", error)


@declared("error-openai")
def type_and_param(t: Target) -> None:
    """error.type and error.param are there, as OpenAI's clients read them"""
    types = {"key": "authentication_error"}
    for kind, answer in _failures(t).items():
        error = expect.error_of(answer)
        expected = types.get(kind, "invalid_request_error")
        expect.equal(f"error.type ({kind})", error.get("type"), expected)
        expect.that("param" in error, f"error.param, or null ({kind})", error)


@declared("error-openai")
def param_names_the_field(t: Target) -> None:
    """error.param names the field, as details.field does"""
    error = expect.error_of(t.chat(temperature=9))
    expect.equal("error.param", error.get("param"), "temperature")


@declared("error-detail")
def detail(t: Target) -> None:
    """detail repeats the message, as the service's own SDK reads it"""
    for kind, answer in _failures(t).items():
        seen = expect.json_of(answer).get("detail")
        expect.equal(f"detail ({kind})", seen, expect.error_of(answer).get("message"))


@declared("error-members")
def nothing_else(t: Target) -> None:
    """The error body has no other member"""
    for answer in _failures(t).values():
        strange = set(expect.json_of(answer)) - {"error", "detail"}
        strange |= set(expect.error_of(answer)) - {"code", "message", "type", "param", "details"}
        expect.that(not strange, "the contract's members alone", sorted(strange))


@declared("error-members")
def content_type(t: Target) -> None:
    """Every refusal is application/json"""
    for kind, answer in _failures(t).items():
        seen = answer.headers.get("content-type", "")
        expect.that(seen.startswith("application/json"), f"application/json ({kind})", seen)


@declared("error-model")
def unknown_model(t: Target) -> None:
    """An unknown model: 404 MODEL_NOT_FOUND, param model"""
    error = expect.refused(t.chat(model="no-such-model"), 404, "MODEL_NOT_FOUND")
    expect.equal("error.param", error.get("param"), "model")


@declared("error-path")
def unknown_path(t: Target) -> None:
    """An unknown path: 404 NOT_FOUND, with a key and without"""
    for headers in (t.auth, {}):
        expect.refused(t.get("/v1/no/such/path", headers), 404, "NOT_FOUND")


@declared("error-method")
def wrong_method(t: Target) -> None:
    """A wrong method: 405 METHOD_NOT_ALLOWED, with Allow"""
    for answer, allowed in ((t.get(CHAT), "POST"), (t.post(MODELS, {}), "GET")):
        expect.refused(answer, 405, "METHOD_NOT_ALLOWED")
        expect.that(allowed in answer.headers.get("allow", ""), f"Allow: {allowed}", answer.headers)


@documented("error-parameter")
def details(t: Target) -> None:
    """INVALID_PARAMETER has details {field, provided, expected}"""
    error = expect.refused(t.chat(top_p=7), 400, "INVALID_PARAMETER")
    seen: Any = error.get("details") or {}
    expect.equal("field", seen.get("field"), "top_p")
    expect.equal("provided", seen.get("provided"), 7)
    expect.that(bool(seen.get("expected")), "expected in words", seen)
