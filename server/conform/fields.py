"""Checks: fields are taken as documented: null, unknown, the newer names, the page's examples."""

from collections.abc import Mapping
from typing import Any, Final

from server.conform import expect
from server.conform.check import declared, documented
from server.conform.target import ABSENT, CHAT, COMPLETIONS, FIXED, RESPONSES, Target
from server.conform.unmet import Skipped

DOCUMENTED = (
    "stream", "temperature", "max_tokens", "top_p", "tools", "tool_choice", "agent_id",
    "region", "stop", "presence_penalty", "frequency_penalty",
)  # fmt: skip
DECLARED = (
    "seed", "n", "logprobs", "top_logprobs", "logit_bias", "response_format", "stream_options",
    "reasoning_effort", "user", "metadata", "parallel_tool_calls", "store", "service_tier",
    "max_completion_tokens",
)  # fmt: skip
REFUSED: Final[Mapping[str, Any]] = {
    "functions": [{"name": "f", "parameters": {}}], "audio": {"voice": "alloy", "format": "wav"},
    "modalities": ["text", "audio"], "best_of": 2, "guided_regex": "a+", "mirostat": 2,
    "typical_p": 0.5, "repeat_penalty": 1.3, "use_beam_search": True, "n_cmpl": True,
    "keep_alive": "5m",
}  # fmt: skip
NEUTRAL: Final[Mapping[str, Any]] = {
    "functions": [], "audio": None, "modalities": ["text"], "best_of": 1, "guided_regex": None,
    "mirostat": 0, "typical_p": 1.0, "repeat_penalty": 1, "use_beam_search": False,
    "skip_special_tokens": True, "length_penalty": 1.0,
}  # fmt: skip
"""Fields of other servers that change an answer, with values that do, and with such that do not."""


@documented("field-null")
def documented_fields_null(t: Target) -> None:
    """null means not given, for each documented field"""
    for name in DOCUMENTED:
        if name != "max_tokens":
            expect.content(t.chat(**{name: None}))


@documented("field-null")
def max_tokens_null(t: Target) -> None:
    """max_tokens null is taken"""
    expect.status(_left_early(t, max_tokens=None), 200)


@declared("field-null-more")
def declared_fields_null(t: Target) -> None:
    """null means not given, for all declared fields at once"""
    expect.content(t.chat(**dict.fromkeys(DECLARED)))


@declared("field-unknown")
def unknown_field(t: Target) -> None:
    """A field nobody knows is taken and has no effect"""
    expect.content(t.chat(x_private_field={"a": [1]}, **{"vendor.flag": True}))


@declared("field-refused")
def fields_that_cannot_be_honoured(t: Target) -> None:
    """A known field that cannot be honoured is a 400 naming it, whole and streamed"""
    for name, value in REFUSED.items():
        _named(t.chat(**{name: value}), name)
        with t.opened(CHAT, **{name: value}) as answer:
            answer.read()
            _named(answer, name)


@declared("field-refused")
def fields_of_other_endpoints(t: Target) -> None:
    """Completions and responses refuse them, too"""
    for path, asked in ((COMPLETIONS, {"prompt": "Hi"}), (RESPONSES, {"input": "Hi"})):
        for name in ("mirostat", "guided_regex", "functions"):
            _named(t.post(path, {"model": t.model, name: REFUSED[name]} | asked), name)


@declared("field-refused")
def neutral_values(t: Target) -> None:
    """The same fields are taken where they ask for what happens anyway"""
    expect.content(t.chat(**NEUTRAL))


@documented("field-stream")
def stream_defaults_to_false(t: Target) -> None:
    """Without stream, and with stream false, the answer is whole"""
    expect.content(t.chat(stream=ABSENT))
    expect.content(t.chat(stream=False))


@documented("field-agent-id")
def agent_id(t: Target) -> None:
    """agent_id is taken"""
    expect.content(t.chat(agent_id="ephemeral"))


@documented("field-region")
def region(t: Target) -> None:
    """region oslo is taken"""
    expect.content(t.chat(region="oslo"))


@documented("field-stop")
def stop_forms(t: Target) -> None:
    """stop is a string or an array"""
    for stop in ("\n\n\n", ["\n\n\n"], ["#!#", "\n\n\n", "~~~~"]):
        expect.content(t.chat(stop=stop))


@declared("field-stop-most")
def sixteen_stop_strings(t: Target) -> None:
    """Sixteen stop strings are taken"""
    expect.content(t.chat(stop=[f"<<{i}>>" for i in range(16)]))


@declared("field-max-completion-tokens")
def max_completion_tokens(t: Target) -> None:
    """max_completion_tokens is max_tokens under its newer name"""
    body = expect.ok(t.chat(max_tokens=ABSENT, max_completion_tokens=2, **FIXED))
    expect.that(body["usage"]["completion_tokens"] <= 2, "at most 2 tokens", body["usage"])


@documented("field-messages")
def three_roles(t: Target) -> None:
    """system, user and assistant messages are taken"""
    roles = ("system", "user", "assistant", "user")
    expect.content(t.chat(messages=[{"role": r, "content": "Hei"} for r in roles]))


@declared("field-roles")
def developer_role(t: Target) -> None:
    """A developer message is a system message"""
    messages = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Hei"}]
    expect.content(t.chat(messages=messages))


@declared("field-content")
def text_parts(t: Target) -> None:
    """Content may be a list of text parts"""
    parts = [{"type": "text", "text": "Hi "}, {"type": "text", "text": "you"}]
    whole = expect.ok(t.chat(**FIXED, messages=[{"role": "user", "content": parts}]))
    plain = expect.ok(t.chat(**FIXED, messages=t.said("Hi you")))
    seen, expected = (x["usage"]["prompt_tokens"] for x in (whole, plain))
    expect.equal("prompt_tokens", seen, expected)


@declared("field-passive")
def passive_fields(t: Target) -> None:
    """user, metadata, store, service_tier and parallel_tool_calls are taken"""
    expect.content(
        t.chat(
            user="u-1",
            metadata={"run": "7"},
            store=False,
            service_tier="auto",
            parallel_tool_calls=True,
        )
    )


@declared("field-extensions")
def extensions(t: Target) -> None:
    """min_p, top_k, repetition_penalty, min_tokens and ignore_eos are taken"""
    expect.content(t.chat(min_p=0.05, top_k=20, repetition_penalty=1.1))
    body = expect.ok(t.chat(min_tokens=3, max_tokens=3, ignore_eos=True))
    expect.equal("completion_tokens", body["usage"]["completion_tokens"], 3)


@declared("field-logit-bias")
def logit_bias(t: Target) -> None:
    """logit_bias is taken"""
    expect.content(t.chat(logit_bias={"0": -100, "1": 0.5}))


@documented("field-max-tokens", slow=True)
def max_tokens_defaults_to_1000(t: Target) -> None:
    """Without max_tokens an answer ends after 1000 tokens"""
    body = expect.ok(t.chat(max_tokens=ABSENT, ignore_eos=True))
    reason = body["choices"][0]["finish_reason"]
    expect.equal("finish_reason", reason, "length")
    if t.chat(max_tokens=1000).status_code == 400:
        raise Skipped("this model generates less than that")
    expect.equal("completion_tokens", body["usage"]["completion_tokens"], 1000)


def _named(answer: Any, name: str) -> None:
    error = expect.refused(answer, 400, "INVALID_PARAMETER")
    expect.equal("error.param", error.get("param"), name)


def _left_early(t: Target, **fields: Any) -> Any:
    """The status of a stream that is left after its first bytes."""
    with t.opened(CHAT, **fields) as answer:
        next(answer.iter_raw(), b"")
        return answer
