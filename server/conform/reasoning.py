"""Checks: a model that reasons shows it apart from its answer."""

from typing import Any

from server.conform import expect
from server.conform.check import declared, documented
from server.conform.target import FIXED, Target
from server.conform.unmet import Skipped

TAGS = ("<think>", "</think>")


def asked(t: Target) -> dict[str, Any]:
    """The usual question, for a model that reasons."""
    return {**FIXED, "model": t.options.reasoning_model or t.model, "max_tokens": 64}


def reasoned(t: Target) -> Any:
    """The whole answer of a model that reasons."""
    body = expect.ok(t.chat(**asked(t)))
    message = body["choices"][0]["message"]
    if not (body.get("model_output_metadata") or message.get("reasoning_content")):
        raise Skipped("the model does not reason; name one that does with --reasoning-model")
    return body


@documented("reason-metadata")
def metadata(t: Target) -> None:
    """model_output_metadata.reasoning holds the trace"""
    trace = (reasoned(t).get("model_output_metadata") or {}).get("reasoning")
    expect.that(isinstance(trace, str) and trace != "", "a text", trace)


@declared("reason-content")
def reasoning_content(t: Target) -> None:
    """message.reasoning_content is the same text"""
    body = reasoned(t)
    trace = (body.get("model_output_metadata") or {}).get("reasoning")
    expect.equal("reasoning", body["choices"][0]["message"].get("reasoning_content"), trace)


@declared("reason-tags")
def no_tags(t: Target) -> None:
    """No think tag in content"""
    text = reasoned(t)["choices"][0]["message"].get("content") or ""
    expect.that(not any(tag in text for tag in TAGS), "no think tag", text)
    plain = expect.ok(t.whole)["choices"][0]["message"]["content"]
    expect.that(not any(tag in plain for tag in TAGS), "no think tag", plain)


@declared("reason-tokens")
def tokens(t: Target) -> None:
    """reasoning_tokens are counted, within completion_tokens"""
    usage = reasoned(t)["usage"]
    details = usage.get("completion_tokens_details") or {}
    count = details.get("reasoning_tokens", 0)
    within = expect.is_count(count) and 0 < count <= usage["completion_tokens"]
    expect.that(within, "reasoning_tokens within completion_tokens", usage)


@declared("reason-stream", alone=True)
def streamed(t: Target) -> None:
    """In a stream the pieces of both forms make the whole trace"""
    body = reasoned(t)
    answer = t.stream(**asked(t))
    metadata = [c.get("model_output_metadata") or {} for c in answer.chunks]
    expected = (body.get("model_output_metadata") or {}).get("reasoning")
    expect.equal("metadata", "".join(m.get("reasoning", "") for m in metadata), expected)
    expect.equal("reasoning_content", answer.joined("reasoning_content"), expected)
    text = body["choices"][0]["message"]["content"]
    expect.equal("content", answer.joined(), text)
