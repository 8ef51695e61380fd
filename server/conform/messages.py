"""Checks: Anthropic's Messages API, where a server speaks it."""

import json
from typing import Any, Final

import httpx

from server.conform import expect
from server.conform.check import declared
from server.conform.target import FIXED, HELLO, MESSAGES, MODELS, Target
from server.conform.unmet import Skipped

COUNT: Final = "/v1/messages/count_tokens"
_VERSION: Final = {"anthropic-version": "2023-06-01"}
_WEATHER: Final = {
    "name": "weather",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"enum": ["Oslo"]}},
        "required": ["city"],
        "additionalProperties": False,
    },
}


def _asked(t: Target, **fields: Any) -> httpx.Response:
    """The usual question in Anthropic's form."""
    usual = {"model": t.model, "max_tokens": 8, "messages": list(HELLO), **FIXED}
    answer = t.post(MESSAGES, usual | fields, t.auth | _VERSION)
    if answer.status_code == 404 and "model" not in fields:
        raise Skipped("this server does not speak Anthropic's API")
    return answer


def _events(t: Target) -> list[dict[str, Any]]:
    answer = _asked(t, stream=True)
    expect.status(answer, 200)
    told = []
    for part in answer.text.strip().split("\n\n"):
        if part.startswith(":"):
            continue
        name, _, data = part.partition("\n")
        body = json.loads(data.removeprefix("data: "))
        expect.equal("event", name, f"event: {body.get('type')}")
        told.append(body)
    return told


def _refused(answer: httpx.Response, status: int, kind: str) -> None:
    expect.status(answer, status)
    body = answer.json()
    expect.equal("type", body.get("type"), "error")
    expect.equal("error.type", body["error"].get("type"), kind)
    expect.that(isinstance(body["error"].get("message"), str), "a message", body)
    expect.equal("request-id", answer.headers.get("request-id"), body.get("request_id"))


def _text(content: list[dict[str, Any]]) -> str:
    return "".join(block["text"] for block in content if block["type"] == "text")


@declared("msg-shape")
def shape(t: Target) -> None:
    """A message has Anthropic's members, and counts what it took"""
    body = expect.ok(_asked(t))
    expect.equal("type", body.get("type"), "message")
    expect.equal("role", body.get("role"), "assistant")
    expect.equal("model", body.get("model"), t.model)
    expect.one_of("stop_reason", body.get("stop_reason"), ("end_turn", "max_tokens"))
    for name in ("input_tokens", "output_tokens"):
        expect.that(expect.is_count(body["usage"].get(name)), name, body["usage"])


@declared("msg-events")
def order_of_events(t: Target) -> None:
    """A stream's events come in Anthropic's order, each named before its data"""
    kinds = [event["type"] for event in _events(t) if event["type"] != "ping"]
    expect.equal("first", kinds[0], "message_start")
    expect.equal("last", kinds[-2:], ["message_delta", "message_stop"])
    middle = [kind for kind in kinds[1:-2] if kind != "content_block_delta"]
    pairs = ["content_block_start", "content_block_stop"] * (len(middle) // 2)
    expect.equal("blocks", middle, pairs)


@declared("msg-events", alone=True)
def whole_is_the_stream(t: Target) -> None:
    """A whole message is the sum of its stream"""
    whole = expect.ok(_asked(t))
    told = _events(t)
    deltas = [event["delta"] for event in told if event["type"] == "content_block_delta"]
    text = "".join(delta.get("text", "") for delta in deltas)
    expect.equal("text", text, _text(whole["content"]))
    last = told[-2]
    expect.equal("stop_reason", last["delta"]["stop_reason"], whole["stop_reason"])
    expect.equal("output_tokens", last["usage"]["output_tokens"], whole["usage"]["output_tokens"])


@declared("msg-max-tokens")
def max_tokens(t: Target) -> None:
    """max_tokens is required, and ends with max_tokens"""
    _refused(_asked(t, max_tokens=None), 400, "invalid_request_error")
    body = expect.ok(_asked(t, max_tokens=1))
    expect.equal("stop_reason", body["stop_reason"], "max_tokens")
    expect.equal("output_tokens", body["usage"]["output_tokens"], 1)


@declared("msg-stop", alone=True)
def stop_sequences(t: Target) -> None:
    """A stop sequence is named, and is no part of the text"""
    text = _text(expect.ok(_asked(t))["content"])
    if len(text) < 4:
        raise Skipped("the model said too little to be stopped in")
    stop = text[2:4]
    body = expect.ok(_asked(t, stop_sequences=[stop, "\u2400 never"]))
    expect.equal("stop_reason", body["stop_reason"], "stop_sequence")
    expect.equal("stop_sequence", body["stop_sequence"], stop)
    expect.that(stop not in _text(body["content"]), "a text without it", body["content"])


@declared("msg-system")
def system(t: Target) -> None:
    """system is a text or blocks, with cache_control or without, and both count the same"""
    block = {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}
    _asked(t)
    asked = {"model": t.model, "messages": list(HELLO)}
    counts = {
        expect.ok(t.post(COUNT, asked | {"system": each}))["input_tokens"]
        for each in ("Be brief.", [block])
    }
    expect.that(len(counts) == 1, "one count", counts)


@declared("msg-count", alone=True)
def counted(t: Target) -> None:
    """/v1/messages/count_tokens is what the message is billed for as input"""
    usage = expect.ok(_asked(t))["usage"]
    asked = {"model": t.model, "messages": list(HELLO)}
    found = expect.ok(t.post(COUNT, asked))["input_tokens"]
    expect.equal("input_tokens", found, usage["input_tokens"] + usage["cache_read_input_tokens"])


@declared("msg-tools")
def a_tool_is_called_and_answered(t: Target) -> None:
    """A forced tool is a tool_use block, and its tool_result is taken"""
    fields = {"tools": [_WEATHER], "max_tokens": 64}
    answer = _asked(t, tool_choice={"type": "tool", "name": "weather"}, **fields)
    t.unless_refused(answer, "tools")
    body = expect.ok(answer)
    uses = [block for block in body["content"] if block["type"] == "tool_use"]
    expect.equal("calls", [(use["name"], use["input"]) for use in uses], [("weather", _OSLO)])
    result = {"type": "tool_result", "tool_use_id": uses[0]["id"], "content": "Rain"}
    turns = [
        *HELLO,
        {"role": "assistant", "content": body["content"]},
        {"role": "user", "content": [result]},
    ]
    expect.status(_asked(t, messages=turns, **fields), 200)


_OSLO: Final = {"city": "Oslo"}


@declared("msg-tools")
def a_result_needs_its_call(t: Target) -> None:
    """A tool_result without its tool_use is a 400, and so is a tool that a server would run"""
    result = {"type": "tool_result", "tool_use_id": "toolu_none", "content": "Rain"}
    turns = [*HELLO, {"role": "user", "content": [result]}]
    _refused(_asked(t, messages=turns), 400, "invalid_request_error")
    search = {"type": "web_search_20260209", "name": "web_search"}
    _refused(_asked(t, tools=[search]), 400, "invalid_request_error")


@declared("msg-thinking")
def thinking(t: Target) -> None:
    """A thought is a block with a signature, and comes back as it was told"""
    model = t.options.reasoning_model
    if model is None:
        raise Skipped("no --reasoning-model was given")
    wants = {"model": model, "thinking": {"type": "enabled", "budget_tokens": 16}}
    answer = _asked(t, max_tokens=64, **wants)
    t.unless_refused(answer, "thinking")
    body = expect.ok(answer)
    if not body["content"] or body["content"][0]["type"] != "thinking":
        raise Skipped("the model did not think")
    expect.that(bool(body["content"][0].get("signature")), "a signature", body["content"][0])
    turns = [*HELLO, {"role": "assistant", "content": body["content"]}, *HELLO]
    expect.status(_asked(t, messages=turns, **wants), 200)


@declared("msg-pictures")
def pictures(t: Target) -> None:
    """A picture is refused where it stands, if the model reads text alone"""
    source = {"type": "base64", "media_type": "image/png", "data": "aGk="}
    picture = {"type": "image", "source": source}
    answer = _asked(t, messages=[{"role": "user", "content": [picture]}])
    if answer.status_code == 200:
        raise Skipped("the model reads pictures")
    _refused(answer, 400, "invalid_request_error")


@declared("msg-errors")
def errors(t: Target) -> None:
    """Every refusal is Anthropic's one body, with its type and the request's id"""
    _asked(t)
    _refused(_asked(t, model="no-such-model"), 404, "not_found_error")
    _refused(_asked(t, temperature=1.5), 400, "invalid_request_error")
    _refused(t.send(b"{", path=MESSAGES), 400, "invalid_request_error")
    keyless = t.post(MESSAGES, {}, headers=_VERSION)
    _refused(keyless, 401, "authentication_error")


@declared("msg-models")
def models(t: Target) -> None:
    """With anthropic-version the models come in Anthropic's form"""
    _asked(t)
    body = expect.ok(t.get(MODELS, t.auth | _VERSION))
    names = [model["id"] for model in body["data"] if model["type"] == "model"]
    expect.that(set(t.models) <= set(names), "every model", names)
    expect.equal("has_more", body["has_more"], False)
