"""Checks: bodies made to hurt are refused briefly and soon, or read as what they are."""

import gzip
import json
import time
import zlib
from typing import Any, Final

import zstandard

from server.conform import expect
from server.conform.check import declared
from server.conform.target import CHAT, COMPLETIONS, RESPONSES, Target

SOON_S: Final = 3.0
BRIEF: Final = 8192
"""Bytes of a refusal that repeats a part of what was sent."""
MANY: Final = 200_000


@declared("conn-size")
def many_small_parts(t: Target) -> None:
    """Content of 200,000 zeros, or as many messages: 400 within seconds, in few words"""
    bodies: tuple[list[Any], ...] = (t.said(""), [0] * MANY, [[]] * MANY)
    bodies[0][0]["content"] = [0] * MANY
    for messages in bodies:
        _soon(t, t.body(messages=messages))


@declared("conn-size")
def more_than_a_list_holds(t: Target) -> None:
    """1,025 biases or tools, 8,193 choices: 400 naming the field"""
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    for name, value in (
        ("logit_bias", {str(i): 1 for i in range(1025)}),
        ("tools", [tool] * 1025),
        ("structured_outputs", {"choice": [f"c{i}" for i in range(8193)]}),
    ):
        error = expect.refused(t.chat(**{name: value}), 400, "INVALID_PARAMETER")
        expect.that(str(error.get("param")).startswith(name), f"error.param {name}", error)


@declared("error-brief")
def long_names_come_back_short(t: Target) -> None:
    """A model, a value, a role or a member's name of a megabyte: a refusal in a few words"""
    long = "m" * 2**20
    bodies: tuple[dict[str, Any], ...] = (
        {"model": long},
        {"region": long},
        {"messages": [{"role": long, "content": "x"}]},
        {"tool_choice": long},
        {"logit_bias": {long: 1}},
        {"structured_outputs": {"json": {long: {}}}},
        {"response_format": {"type": long}},
    )
    for fields in bodies:
        answer = t.chat(**fields)
        expect.status(answer, 400, 404)
        expect.that(len(answer.content) <= BRIEF, f"at most {BRIEF} bytes", len(answer.content))


@declared("conn-encoding")
def encoded_bodies(t: Target) -> None:
    """gzip, deflate and zstd bodies are read; another encoding, or bytes that are none: 4xx"""
    raw = json.dumps(t.body(max_tokens=1)).encode()
    packed = {
        "gzip": gzip.compress(raw),
        "deflate": zlib.compress(raw),
        "zstd": zstandard.compress(raw),
    }
    for name, content in packed.items():
        expect.status(_encoded(t, name, content), 200)
        expect.refused(_encoded(t, name, raw), 400, "INVALID_PARAMETER")
    expect.refused(_encoded(t, "br", raw), 415, "UNSUPPORTED_MEDIA_TYPE")


@declared("conn-encoding")
def bombs(t: Target) -> None:
    """A small gzip body of 64 MiB: 413 REQUEST_TOO_LARGE"""
    bomb = gzip.compress(b'{"user": "' + b"x" * 2**26 + b'"}')
    expect.refused(_encoded(t, "gzip", bomb), 413, "REQUEST_TOO_LARGE")


@declared("conn-upgrade")
def offers_of_another_protocol(t: Target) -> None:
    """Upgrade: h2c (the JDK's client) is passed over, and the body read"""
    offer = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMA"}
    expect.content(t.post(CHAT, t.body(max_tokens=1), t.auth | offer))


@declared("field-tool-answers")
def deep_arguments(t: Target) -> None:
    """Arguments in the history that are nested 50,000 deep: 400; that are no JSON: read"""
    deep = '{"a":' * 50_000 + "1" + "}" * 50_000
    for arguments, status in ((deep, 400), ('{"city": "Bo', 200), ("", 200)):
        call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": arguments}}
        messages = [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        ]
        expect.status(t.chat(messages=messages, max_tokens=1), status)


@declared("field-refused")
def templates_of_a_client(t: Target) -> None:
    """chat_template_kwargs that name what the server renders with: 400 on every endpoint"""
    for name in ("chat_template", "messages", "tools", "add_generation_prompt", "tokenize"):
        fields = {"chat_template_kwargs": {name: "{% for i in range(9**9) %}{% endfor %}"}}
        expect.refused(t.chat(**fields), 400, "INVALID_PARAMETER")
        body = {"model": t.model, "input": "Hi"} | fields
        expect.refused(t.post(RESPONSES, body), 400, "INVALID_PARAMETER")


@declared("field-refused")
def true_is_no_number(t: Target) -> None:
    """true where 1 is neutral: 400 on chat and completions"""
    for name in ("best_of", "length_penalty", "repeat_penalty", "typical_p"):
        expect.refused(t.chat(**{name: True}), 400, "INVALID_PARAMETER")
        body = {"model": t.model, "prompt": "Hi", name: True}
        expect.refused(t.post(COMPLETIONS, body), 400, "INVALID_PARAMETER")


@declared("field-structured-outputs")
def forms_out_of_proportion(t: Target) -> None:
    """A pattern of 100,000 characters, a minItems of a million, no pattern, two forms: 400 soon"""
    items = {"type": "array", "items": {"type": "integer"}, "minItems": 10**6}
    forms: tuple[dict[str, Any], ...] = (
        {"regex": "(a|b)" * 20_000},
        {"json": items},
        {"regex": "("},
        {"grammar": "no grammar"},
        {"choice": []},
        {"regex": "a", "choice": ["a"]},
    )
    for form in forms:
        _soon(t, t.body(structured_outputs=form))


@declared("field-system")
def an_earlier_refusal_is_read(t: Target) -> None:
    """An assistant's refusal is a part of the prompt"""
    said = {"role": "user", "content": "Hi"}
    tokens = []
    for more in ({"content": "No."}, {"content": None, "refusal": "No."}):
        messages = [said, {"role": "assistant", **more}, said]
        tokens.append(expect.ok(t.chat(messages=messages))["usage"]["prompt_tokens"])
    expect.equal("prompt_tokens", tokens[1], tokens[0])


def _soon(t: Target, body: Any) -> None:
    began = time.monotonic()
    answer = t.post(CHAT, body)
    took = time.monotonic() - began
    expect.status(answer, 400)
    expect.that(len(answer.content) <= BRIEF, f"at most {BRIEF} bytes", len(answer.content))
    limit = max(SOON_S, t.options.timeout_s / 2)
    expect.that(took <= limit, f"within {limit:g} s", f"{took:.1f} s")


def _encoded(t: Target, name: str, content: bytes) -> Any:
    headers = t.auth | {"Content-Type": "application/json", "Content-Encoding": name}
    return t.http.post(CHAT, content=content, headers=headers)
