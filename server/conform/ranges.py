"""Checks: values out of range and of the wrong type are refused, with field and what is right."""

from collections.abc import Mapping
from typing import Any

from server.conform import expect
from server.conform.check import Check, Source, declared, documented
from server.conform.target import ABSENT, Target

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
PART = [{"role": "user", "content": [IMAGE]}]

OUT_OF_RANGE: tuple[tuple[Source, str, str, tuple[Any, ...]], ...] = (
    ("documented", "field-temperature", "temperature", (-0.1, 2.1)),
    ("documented", "field-top-p", "top_p", (-0.1, 1.1)),
    ("documented", "field-max-tokens", "max_tokens", (0, -1)),
    ("documented", "field-penalties", "presence_penalty", (-2.1, 2.1)),
    ("documented", "field-penalties", "frequency_penalty", (-2.1, 2.1)),
    ("declared", "field-max-completion-tokens", "max_completion_tokens", (0,)),
    ("declared", "field-n", "n", (0, 17)),
    ("declared", "field-region-other", "region", ("mars",)),
)
MISTYPED: tuple[tuple[str, str, Any], ...] = (
    ("field-temperature", "temperature", "0.7"),
    ("field-max-tokens", "max_tokens", 1.5),
    ("field-stream", "stream", "yes"),
    ("field-model", "model", 5),
    ("field-messages", "messages", "Hi"),
    ("field-messages", "messages", []),
    ("field-tools", "tools", "none"),
)
AT_THE_EDGE: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("field-temperature", {"temperature": 0}),
    ("field-temperature", {"temperature": 2}),
    ("field-top-p", {"top_p": 0}),
    ("field-top-p", {"top_p": 1}),
    ("field-penalties", {"presence_penalty": -2, "frequency_penalty": -2}),
    ("field-penalties", {"presence_penalty": 2, "frequency_penalty": 2}),
)


def invalid(t: Target, field: str, **fields: Any) -> Any:
    """The body with these fields is a 400 INVALID_PARAMETER about `field`; its details."""
    error = expect.refused(t.chat(**fields), 400, "INVALID_PARAMETER")
    details = error.get("details") or {}
    missing = {"field", "provided", "expected"} - set(details)
    expect.that(not missing, "details with field, provided, expected", error)
    expect.that(str(details["field"]).startswith(field), f"details.field {field}", details)
    expect.that(bool(details["expected"]), "details.expected in words", details)
    return details


def _out_of_range(source: Source, rule: str, field: str, values: tuple[Any, ...]) -> Check:
    def run(t: Target) -> None:
        for value in values:
            details = invalid(t, field, **{field: value})
            expect.equal("details.provided", details["provided"], value)

    words = " or ".join(map(str, values))
    return Check(
        id=f"ranges.{field}",
        title=f"{field} {words}: 400 with field, provided, expected",
        source=source,
        rule=rule,
        run=run,
    )


def _mistyped(rule: str, field: str, value: Any) -> Check:
    kind = "empty" if value == [] else type(value).__name__
    return Check(
        id=f"ranges.{field}_{kind}",
        title=f"{field} {value!r}: 400 naming the field",
        source="documented",
        rule=rule,
        run=lambda t: invalid(t, field, **{field: value}) and None,
    )


def _edge(rule: str, fields: Mapping[str, Any]) -> Check:
    words = ", ".join(f"{k} {v}" for k, v in fields.items())
    return Check(
        id="ranges." + "_".join(f"{k}_is_{v}" for k, v in fields.items()).replace("-", "minus_"),
        title=f"{words} is taken",
        source="documented",
        rule=rule,
        run=lambda t: expect.ok(t.chat(max_tokens=2, **fields)) and None,
    )


OUT = tuple(_out_of_range(*row) for row in OUT_OF_RANGE)
TYPES = tuple(_mistyped(*row) for row in MISTYPED)
EDGES = tuple(_edge(*row) for row in AT_THE_EDGE)


@documented("field-model")
def model_missing(t: Target) -> None:
    """No model: 400 naming it"""
    invalid(t, "model", model=ABSENT)


@documented("field-messages")
def messages_missing(t: Target) -> None:
    """No messages: 400 naming them"""
    invalid(t, "messages", messages=ABSENT)


@declared("field-roles")
def unknown_role(t: Target) -> None:
    """A role nobody knows: 400 naming it"""
    invalid(t, "messages[0].role", messages=[{"role": "robot", "content": "x"}])


@declared("field-content")
def content_null(t: Target) -> None:
    """A user message without content: 400 naming it"""
    invalid(t, "messages[0].content", messages=[{"role": "user", "content": None}])


@declared("field-content")
def content_image(t: Target) -> None:
    """An image for a model that reads text only: 400"""
    expect.refused(t.chat(messages=PART), 400, "INVALID_PARAMETER")


@declared("field-logprobs")
def top_logprobs(t: Target) -> None:
    """top_logprobs 21, or without logprobs: 400"""
    invalid(t, "top_logprobs", logprobs=True, top_logprobs=21)
    invalid(t, "top_logprobs", top_logprobs=3)


@declared("field-logit-bias")
def logit_bias(t: Target) -> None:
    """logit_bias 101: 400"""
    invalid(t, "logit_bias", logit_bias={"1": 101})


@declared("field-stop-most")
def stop(t: Target) -> None:
    """17 stop strings, or an empty one: 400"""
    invalid(t, "stop", stop=["x"] * 17)
    invalid(t, "stop", stop=[""])
