"""Checks: input and output together fit the context, or are refused with the numbers."""

import json
import re
from typing import Any, Final

from server.conform import expect
from server.conform.check import declared, documented
from server.conform.target import ABSENT, Target
from server.conform.unmet import Skipped

MORE_THAN_ANY: Final = 300_000
"""Words: more tokens than the longest documented context, 200K."""
SOME: Final = 100
"""Words that any context holds, to see how many tokens one has."""


@documented("limit-context")
def too_long_a_prompt(t: Target) -> None:
    """A prompt over the context is refused"""
    expect.status(t.chat(messages=t.said("word " * MORE_THAN_ANY)), 400)


@declared("error-context")
def three_numbers(t: Target) -> None:
    """… with CONTEXT_LENGTH_EXCEEDED; details tell prompt_tokens, max_tokens and context_tokens"""
    numbers = _refusal(t, MORE_THAN_ANY, max_tokens=4)
    expect.one_of("max_tokens", numbers["max_tokens"], (4, None))
    fits = numbers["prompt_tokens"] > numbers["context_tokens"]
    expect.that(fits, "more prompt_tokens than context_tokens", numbers)


@declared("limit-words")
def words_that_clients_know(t: Target) -> None:
    """… and a message by which agents know to make room: "maximum context length is … tokens\""""
    error = expect.refused(
        t.chat(messages=t.said("word " * MORE_THAN_ANY)), 400, "CONTEXT_LENGTH_EXCEEDED"
    )
    known = re.search(r"maximum context length is \d+ tokens", str(error.get("message")))
    expect.that(bool(known), "OpenAI's words in the message", error)


@declared("limit-explicit")
def prompt_and_explicit_max_tokens(t: Target) -> None:
    """A prompt plus an explicit max_tokens over the context: the same refusal"""
    words, context = _just_below(t)
    numbers = _refusal(t, words, max_tokens=64)
    expect.equal("max_tokens", numbers["max_tokens"], 64)
    expect.that(numbers["prompt_tokens"] <= context, f"a prompt within {context}", numbers)


@declared("limit-default-shrinks", slow=True)
def default_max_tokens_shrinks(t: Target) -> None:
    """A defaulted max_tokens shrinks to what fits"""
    words, context = _just_below(t)
    if context > 4096:
        raise Skipped(f"reading {context} tokens takes too long")
    answer = t.chat(messages=t.said("word " * words), max_tokens=ABSENT)
    usage = expect.ok(answer)["usage"]
    expect.that(usage["total_tokens"] <= context, f"at most {context} tokens", usage)


@documented("limit-output")
def more_than_the_model_generates(t: Target) -> None:
    """max_tokens over the output limit: 400 INVALID_PARAMETER"""
    error = expect.refused(t.chat(max_tokens=10_000_000), 400, "INVALID_PARAMETER")
    words = json.dumps(error)
    expect.that("10000000" in words, "a refusal that repeats the number", error)


@declared("limit-output-named")
def the_limit_is_named(t: Target) -> None:
    """… and the refusal names the limit, which is itself taken"""
    error = expect.refused(t.chat(max_tokens=10_000_000), 400, "INVALID_PARAMETER")
    expected = str((error.get("details") or {}).get("expected", ""))
    numbers = [int(w) for w in expected.split() if w.isdigit()]
    expect.that(bool(numbers), "the limit in details.expected", error)
    answer = t.chat(max_tokens=numbers[-1] + 1)
    expect.refused(answer, 400, "INVALID_PARAMETER")


def _refusal(t: Target, words: int, **fields: Any) -> Any:
    answer = t.chat(messages=t.said("word " * words), **fields)
    error = expect.refused(answer, 400, "CONTEXT_LENGTH_EXCEEDED")
    details = error.get("details") or {}
    names = {"prompt_tokens", "max_tokens", "context_tokens"}
    expect.that(names <= set(details), f"details with {', '.join(sorted(names))}", error)
    return details


def _just_below(t: Target) -> tuple[int, int]:
    """How many words leave some thirty tokens of the context, and the context."""
    whole = _refusal(t, MORE_THAN_ANY, max_tokens=4)  # its prompt_tokens may be the least possible
    context = int(whole["context_tokens"])
    some, twice = (_prompt_tokens(t, count) for count in (SOME, 2 * SOME))
    per_word = max(1.0, (twice - some) / SOME)
    frame = some - SOME * per_word
    return max(1, int((context - frame - 30) / per_word)), context


def _prompt_tokens(t: Target, words: int) -> int:
    answer = t.chat(messages=t.said("word " * words), max_tokens=1)
    return int(expect.ok(answer)["usage"]["prompt_tokens"])
