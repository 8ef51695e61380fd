"""Checks: the shape of a whole answer."""

import time
from concurrent.futures import ThreadPoolExecutor

from server.conform import expect
from server.conform.check import declared, documented
from server.conform.target import CHAT, FIXED, Target
from server.conform.unmet import Unmet

ROOT = {"id", "object", "created", "model", "choices", "usage", "model_output_metadata"}
CHOICE = {"index", "message", "finish_reason", "logprobs"}
MESSAGE = {"role", "content", "tool_calls", "reasoning_content"}
REASONS = ("stop", "length", "tool_calls", "content_filter")


@documented("answer-shape")
def id_and_object(t: Target) -> None:
    """id begins with chatcmpl-, object is chat.completion"""
    body = expect.ok(t.whole)
    expect.that(str(body.get("id")).startswith("chatcmpl-"), "an id chatcmpl-…", body.get("id"))
    expect.equal("object", body.get("object"), "chat.completion")


@documented("answer-shape")
def created(t: Target) -> None:
    """created is now, in Unix seconds"""
    seen = expect.ok(t.chat()).get("created")
    now = time.time()
    expect.that(expect.is_count(seen) and abs(seen - now) < 300, f"about {now:.0f}", seen)


@documented("answer-shape")
def model(t: Target) -> None:
    """model is the alias asked for"""
    expect.equal("model", expect.ok(t.whole).get("model"), t.model)


@documented("answer-shape")
def choices(t: Target) -> None:
    """One choice: index 0, a message with role assistant and a text"""
    expect.equal("choices", len(expect.ok(t.whole).get("choices", ())), 1)
    choice = expect.choice(t.whole)
    expect.equal("index", choice.get("index"), 0)
    expect.equal("role", choice.get("message", {}).get("role"), "assistant")
    expect.content(t.whole)


@declared("answer-finish")
def finish_reason(t: Target) -> None:
    """finish_reason is one of OpenAI's four words"""
    expect.one_of("finish_reason", expect.choice(t.whole).get("finish_reason"), REASONS)


@documented("answer-usage")
def usage(t: Target) -> None:
    """usage counts prompt and completion, and total is their sum"""
    seen = expect.ok(t.whole).get("usage") or {}
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    expect.that(all(expect.is_count(seen.get(n)) for n in names), ", ".join(names), seen)
    total = seen["prompt_tokens"] + seen["completion_tokens"]
    expect.equal("total_tokens", seen["total_tokens"], total)
    expect.that(seen["prompt_tokens"] > 0, "prompt_tokens above 0", seen)


@declared("answer-members")
def nothing_else(t: Target) -> None:
    """No member that is not documented or declared"""
    body, choice = expect.ok(t.whole), expect.choice(t.whole)
    strange = (set(body) - ROOT) | (set(choice) - CHOICE) | (set(choice["message"]) - MESSAGE)
    expect.that(not strange, "the members of the contract alone", sorted(strange))


@declared("answer-members")
def nothing_null(t: Target) -> None:
    """Optional members are left out, not null"""
    body, choice = expect.ok(t.whole), expect.choice(t.whole)
    parts = (body, body["usage"], choice, choice["message"])
    nulls = [name for part in parts for name, value in part.items() if value is None]
    expect.that(not nulls, "no member that is null", nulls)


@declared("answer-members")
def no_system_fingerprint(t: Target) -> None:
    """system_fingerprint is never there"""
    expect.that("system_fingerprint" not in expect.ok(t.whole), "none", "system_fingerprint")
    for chunk in t.streamed.chunks:
        expect.that("system_fingerprint" not in chunk, "none", "system_fingerprint in a chunk")


@declared("answer-ids")
def ids_differ(t: Target) -> None:
    """Two answers have two ids"""
    first, second = expect.ok(t.chat())["id"], expect.ok(t.chat())["id"]
    if first == second:
        raise Unmet("two ids", first)


@documented("answer-shape")
def content_type(t: Target) -> None:
    """A whole answer is application/json"""
    kind = t.whole.headers.get("content-type", "")
    expect.that(kind.startswith("application/json"), "application/json", kind)


@documented("field-max-tokens")
def length(t: Target) -> None:
    """max_tokens bounds the answer, and finish_reason says so"""
    body = expect.ok(t.chat(**FIXED, max_tokens=1))
    expect.equal("completion_tokens", body["usage"]["completion_tokens"], 1)
    expect.one_of("finish_reason", body["choices"][0]["finish_reason"], ("length", "stop"))


@declared("answer-members")
def no_reasoning_without_any(t: Target) -> None:
    """model_output_metadata is absent where the model did not reason"""
    body = expect.ok(t.whole)
    metadata = body.get("model_output_metadata", {"reasoning": "x"})
    expect.that(bool(metadata.get("reasoning")), "a trace, or no such member", metadata)


@declared("calm-parallel")
def eight_at_once(t: Target) -> None:
    """Eight requests at once are eight answers"""
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(t.chat, CHAT, max_tokens=2) for _ in range(8)]
    ids = {expect.ok(a.result()).get("id") for a in asked}
    expect.equal("different ids", len(ids), 8)
