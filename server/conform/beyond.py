"""Checks: what OpenAI's clients have moved to or come from: completions, responses, tokenize."""

from server.conform import expect
from server.conform.check import declared
from server.conform.target import COMPLETIONS, FIXED, HELLO, RESPONSES, TOKENIZE, Target

_CUSTOM = {"type": "custom", "name": "a"}


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


@declared("ep-responses")
def tools_of_agents(t: Target) -> None:
    """… takes the tools of coding agents, and names those that nobody would run"""
    later = {"type": "additional_tools", "role": "developer", "tools": [{**_CUSTOM, "name": "b"}]}
    said = {"type": "message", "role": "user", "content": "Hi you"}
    tools = [_CUSTOM, {"type": "web_search"}]
    body = {"model": t.model, "input": [later, said], "tools": tools, "max_output_tokens": 16}
    answer = expect.ok(t.post(RESPONSES, body))
    named = (answer.get("metadata") or {}).get("tools_left_out")
    expect.equal("metadata.tools_left_out", named, "web_search")


@declared("ep-tokenize")
def tokenize(t: Target) -> None:
    """POST /v1/tokenize counts what chat will count"""
    body = {"model": t.model, "messages": list(HELLO)}
    answer = expect.ok(t.post(TOKENIZE, body))
    expected = expect.ok(t.whole)["usage"]["prompt_tokens"]
    expect.equal("count", answer.get("count"), expected)
