"""Checks: what OpenAI's clients have moved to or come from: completions, responses, tokenize."""

from server.conform import expect
from server.conform.check import declared
from server.conform.target import COMPLETIONS, FIXED, HELLO, RESPONSES, Target


@declared("ep-completions")
def completions(t: Target) -> None:
    """POST /v1/completions continues a text"""
    body = {"model": t.model, "prompt": "Oslo is", "max_tokens": 4, **FIXED}
    answer = expect.ok(t.post(COMPLETIONS, body))
    expect.equal("object", answer.get("object"), "text_completion")
    expect.that(isinstance(answer["choices"][0]["text"], str), "a text", answer)
    usage = answer["usage"]
    total = usage["prompt_tokens"] + usage["completion_tokens"]
    expect.equal("total_tokens", usage["total_tokens"], total)


@declared("ep-responses")
def responses(t: Target) -> None:
    """POST /v1/responses answers a string"""
    body = {"model": t.model, "input": "Hi you", "max_output_tokens": 16, "store": False}
    answer = expect.ok(t.post(RESPONSES, body))
    expect.equal("object", answer.get("object"), "response")
    usage = answer["usage"]
    total = usage["input_tokens"] + usage["output_tokens"]
    expect.equal("total_tokens", usage["total_tokens"], total)


@declared("ep-tokenize")
def tokenize(t: Target) -> None:
    """POST /v1/tokenize counts what chat will count"""
    body = {"model": t.model, "messages": list(HELLO)}
    answer = expect.ok(t.post("/v1/tokenize", body))
    expected = expect.ok(t.whole)["usage"]["prompt_tokens"]
    expect.equal("count", answer.get("count"), expected)
