"""Checks: stop strings, several choices, seeds, and log probabilities."""

from typing import Any

from server.conform import expect
from server.conform.check import declared, documented
from server.conform.target import FIXED, Target
from server.conform.unmet import Skipped, Unmet


@documented("field-stop", alone=True)
def stop_string_ends_the_text(t: Target) -> None:
    """The text ends before the stop string, which is not part of it"""
    text, stop = _text_and_stop(t)
    choice = expect.choice(t.chat(**FIXED, max_tokens=16, stop=stop))
    expect.equal("content", choice["message"]["content"], text[: text.index(stop)])
    expect.equal("finish_reason", choice["finish_reason"], "stop")


@documented("field-stop", alone=True)
def stop_string_ends_the_stream(t: Target) -> None:
    """… and so in a stream, also across chunks"""
    text, stop = _text_and_stop(t)
    streamed = t.stream(**FIXED, max_tokens=16, stop=["#!#", stop])
    expect.equal("content", streamed.joined(), text[: text.index(stop)])
    expect.equal("finish_reason", streamed.finish_reason(), "stop")


@declared("field-stop-included", alone=True)
def stop_string_is_said(t: Target) -> None:
    """With include_stop_str_in_output the stop string is the text's end, whole and streamed"""
    text, stop = _text_and_stop(t)
    fields = {**FIXED, "max_tokens": 16, "stop": stop, "include_stop_str_in_output": True}
    said = text[: text.index(stop) + len(stop)]
    expect.equal("content", expect.content(t.chat(**fields)), said)
    expect.equal("streamed content", t.stream(**fields).joined(), said)


@declared("field-n")
def two_choices(t: Target) -> None:
    """n 2 gives choices 0 and 1, and usage counts both"""
    body = expect.ok(t.chat(n=2, max_tokens=3, ignore_eos=True))
    indices = [c["index"] for c in body["choices"]]
    expect.equal("indices", sorted(indices), [0, 1])
    expect.equal("completion_tokens", body["usage"]["completion_tokens"], 6)


@declared("field-n")
def two_streamed_choices(t: Target) -> None:
    """n 2 streams both, each with its role and its finish_reason"""
    streamed = t.stream(n=2)
    for index in (0, 1):
        parts = streamed.choices(index)
        expect.that(bool(parts), f"chunks of choice {index}", streamed.text)
        expect.equal("role", parts[0]["delta"].get("role"), "assistant")
        expect.that(bool(streamed.finish_reason(index)), "a finish_reason", parts[-1])


@declared("field-n")
def sixteen_choices(t: Target) -> None:
    """n 16 is taken"""
    body = expect.ok(t.chat(n=16, max_tokens=1))
    expect.equal("choices", len(body["choices"]), 16)


@declared("field-seed", alone=True)
def same_seed_same_text(t: Target) -> None:
    """The same seed gives the same text"""
    expect.content(t.chat(temperature=1, seed=11, max_tokens=8))
    one, two = (expect.content(t.chat(temperature=1, seed=11, max_tokens=8)) for _ in range(2))
    expect.equal("content", two, one)


@declared("field-logprobs")
def logprobs(t: Target) -> None:
    """logprobs gives each token with its log probability and bytes"""
    choice = expect.choice(t.chat(**FIXED, logprobs=True))
    tokens = _tokens(choice)
    said = b"".join(bytes(x["bytes"]) for x in tokens).decode("utf-8", "replace")
    text = choice["message"]["content"]
    if "\ufffd" not in text + said:
        expect.that(text in said, f"bytes that spell {text!r}", said)


@declared("field-logprobs")
def top_logprobs(t: Target) -> None:
    """top_logprobs 3 gives three alternatives, likeliest first"""
    for x in _tokens(expect.choice(t.chat(**FIXED, logprobs=True, top_logprobs=3))):
        likely = [alternative["logprob"] for alternative in x["top_logprobs"]]
        expect.equal("alternatives", len(likely), 3)
        expect.equal("their order", likely, sorted(likely, reverse=True))


@declared("field-logprobs")
def no_logprobs_unasked(t: Target) -> None:
    """Without logprobs there are none"""
    if expect.choice(t.whole).get("logprobs"):
        raise Unmet("no logprobs", expect.choice(t.whole)["logprobs"])


@declared("field-logprobs", alone=True)
def streamed_logprobs(t: Target) -> None:
    """A stream carries the same log probabilities' tokens"""
    whole = [x["token"] for x in _tokens(expect.choice(t.chat(**FIXED, logprobs=True)))]
    parts = t.stream(**FIXED, logprobs=True).choices()
    seen = [x["token"] for p in parts for x in (p.get("logprobs") or {}).get("content") or ()]
    expect.equal("tokens", seen, whole)


def _tokens(choice: Any) -> list[Any]:
    tokens: Any = (choice.get("logprobs") or {}).get("content")
    expect.that(isinstance(tokens, list), "logprobs.content", choice)
    for x in tokens:
        whole = {"token", "logprob", "bytes", "top_logprobs"} <= set(x)
        expect.that(whole, "token, logprob, bytes, top_logprobs", x)
        expect.that(x["logprob"] <= 0, "a logprob of at most 0", x["logprob"])
        expect.that(all(0 <= b < 256 for b in x["bytes"]), "bytes", x["bytes"])
    return list(tokens)


def _text_and_stop(t: Target) -> tuple[str, str]:
    """What the model says, and one or two letters out of the middle of it."""
    text = expect.content(t.chat(**FIXED, max_tokens=16))
    middle = len(text) // 2
    for length in (2, 1):
        for start in (*range(middle, len(text)), *range(middle)):
            stop = text[start : start + length]
            if len(stop) == length and stop.isprintable() and not set(stop) & {" ", "\ufffd"}:
                return text, stop
    raise Skipped(f"the model says too little: {text!r}")
