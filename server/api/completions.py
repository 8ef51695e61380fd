"""/v1/completions: a text goes on; OpenAI's older form, over the same way as chat."""

import time
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from pydantic import Field, TypeAdapter

from engines.base import Delta, FinishReason, GenerateRequest, Sampling, TokenLogprob, Usage
from engines.registry.spec import ModelSpec
from server.api.chat.request import bound, refuse_unmet_choices, sampling, structure, truncation
from server.api.chat.stream import DONE, event, finite, usage_body
from server.api.chat.wire import ChoiceFields, ResponseFormat
from server.api.fields import COMPLETIONS as FIELDS
from server.api.prompts import TokenIds, prompts_of
from server.errors import ApiError
from server.ids import new_id
from server.requests.plan import Plan, Stream, Whole

DEFAULT_MAX_TOKENS = 16
"""OpenAI's own for this endpoint; the service documents none."""
MAX_PROMPTS = 128

_json = msgspec.json.Encoder().encode


class CompletionRequest(ChoiceFields):
    """The body of /v1/completions."""

    prompt: Annotated[
        str
        | Annotated[list[str], Field(min_length=1, max_length=MAX_PROMPTS, fail_fast=True)]
        | TokenIds
        | Annotated[list[TokenIds], Field(min_length=1, max_length=MAX_PROMPTS, fail_fast=True)],
        Field(description="A text, token ids, or an array of either: n choices for each"),
    ]
    max_tokens: Annotated[
        Annotated[int, Field(ge=1, le=2**31 - 1)] | None,
        Field(description="Most completion tokens", json_schema_extra={"default": 16}),
    ] = None
    logprobs: Annotated[
        Annotated[int, Field(ge=0, le=20)] | None,
        Field(description="Log probabilities of the chosen token and of so many likely ones"),
    ] = None
    echo: Annotated[bool | None, Field(description="The prompt before each answer")] = False
    suffix: Annotated[str | None, Field(description="Not supported: only null or empty")] = None
    best_of: Annotated[
        Annotated[int, Field(ge=1, le=16)] | None, Field(description="Only as many as n")
    ] = None
    response_format: Annotated[
        ResponseFormat | None, Field(description="The form the answer must have")
    ] = None


COMPLETIONS: TypeAdapter[CompletionRequest] = TypeAdapter(CompletionRequest)


def build_completion(wire: CompletionRequest, spec: ModelSpec, request_id: str) -> Plan:
    """One legacy completion. Raises ApiError 400."""
    refuse_unmet_choices(wire, FIELDS)
    prompts = prompts_of(wire.prompt)
    _refuse_what_is_not_there(wire, prompts)
    drawn = sampling(
        wire,
        spec,
        max_tokens=bound(spec, "max_tokens", wire.max_tokens, DEFAULT_MAX_TOKENS),
        n=wire.n or 1,
        logprobs=wire.logprobs,
    )
    requests = tuple(
        _request(wire, prompt, drawn, f"{request_id}.{i}" if i else request_id)
        for i, prompt in enumerate(prompts)
    )
    echoes = [
        p if wire.echo and isinstance(p, str) else "" for p in prompts for _ in range(drawn.n)
    ]
    members = {
        "id": f"cmpl-{new_id(28)}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": spec.alias,
    }
    shape: Stream | Whole = CompletionAnswer(members, echoes)
    if wire.stream:
        shape = CompletionStream(members, echoes, wire.wants_usage)
    return Plan(
        requests=requests,
        shape=shape,
        has_max_tokens=wire.has_max_tokens,
        wire_names={"messages": "prompt"},
        truncation=truncation(wire),
    )


def _request(
    wire: CompletionRequest, prompt: str | Sequence[int], drawn: Sampling, request_id: str
) -> GenerateRequest:
    return GenerateRequest(
        request_id=request_id,
        sampling=drawn,
        prompt=prompt,
        structure=structure(wire.response_format, wire.structured_outputs),
        stream=bool(wire.stream),
    )


def _refuse_what_is_not_there(wire: CompletionRequest, prompts: Sequence[object]) -> None:
    if wire.suffix:
        message = "suffix is not supported: these models go on at the end only."
        raise ApiError.invalid(message, "suffix", wire.suffix[:80], "null")
    if wire.best_of is not None and wire.best_of != (wire.n or 1):
        message = f"best_of is {wire.best_of}, n is {wire.n or 1}: only as many as n are generated."
        raise ApiError.invalid(message, "best_of", wire.best_of, f"{wire.n or 1}, as n")
    if wire.echo and any(not isinstance(p, str) for p in prompts):
        message = "echo needs prompts that are texts, not token ids."
        raise ApiError.invalid(message, "echo", True, "false, or a text as prompt")
    if wire.echo and wire.logprobs is not None:
        message = "echo with logprobs is not supported: a prompt's tokens have no probabilities."
        raise ApiError.invalid(message, "echo", True, "false, or logprobs null")


class CompletionStream:
    """The chunks of one streamed completion."""

    __slots__ = ("_echoes", "_head", "_include_usage", "_offsets", "_tail", "_text")

    def __init__(self, members: dict[str, Any], echoes: Sequence[str], include_usage: bool) -> None:
        self._head = b"data: " + msgspec.json.encode(members)[:-1]
        self._tail = b',"usage":null}\n\n' if include_usage else b"}\n\n"
        self._include_usage = include_usage
        self._echoes = echoes
        self._offsets = [0] * len(echoes)
        ending = b',"index":%d,"logprobs":null,"finish_reason":null}]'
        self._text = [
            (self._head + b',"choices":[{"text":', ending % i + self._tail)
            for i in range(len(echoes))
        ]

    def open(self) -> bytes:
        """The prompts, where they are to be echoed."""
        return b"".join(self._chunk(i, text) for i, text in enumerate(self._echoes) if text)

    def delta(self, d: Delta) -> bytes:
        if d.text and not (d.finish_reason or d.logprobs):
            return self._text[d.index][0] + _json(d.text) + self._text[d.index][1]
        if not (d.text or d.logprobs or d.finish_reason):
            return b""
        logprobs = logprobs_body(d.logprobs, self._offsets[d.index]) if d.logprobs else None
        self._offsets[d.index] += sum(len(x.token) for x in d.logprobs)
        return self._chunk(d.index, d.text, logprobs, d.finish_reason)

    def close(self, usage: Usage) -> bytes:
        if not self._include_usage:
            return DONE
        body = msgspec.json.encode(usage_body(usage))
        return self._head + b',"choices":[],"usage":' + body + b"}\n\n" + DONE

    def fail(self, body: dict[str, Any]) -> bytes:
        return event(body) + DONE

    def _chunk(
        self,
        index: int,
        text: str,
        logprobs: dict[str, Any] | None = None,
        finish_reason: FinishReason | None = None,
    ) -> bytes:
        choice = _choice_body(index, text, logprobs, finish_reason)
        return self._head + b',"choices":[' + msgspec.json.encode(choice) + b"]" + self._tail


class CompletionAnswer:
    """The body of one whole completion."""

    __slots__ = ("_choices", "_members")

    def __init__(self, members: dict[str, Any], echoes: Sequence[str]) -> None:
        self._members = members
        self._choices = [_Choice(echo) for echo in echoes]

    def add(self, d: Delta) -> None:
        self._choices[d.index].add(d)

    def body(self, usage: Usage) -> bytes:
        choices = [choice.body(i) for i, choice in enumerate(self._choices)]
        return msgspec.json.encode(self._members | {"choices": choices, "usage": usage_body(usage)})


class _Choice:
    def __init__(self, echo: str) -> None:
        self.text = [echo]
        self.logprobs: list[TokenLogprob] = []
        self.finish_reason: FinishReason | None = None

    def add(self, d: Delta) -> None:
        self.text.append(d.text)
        self.logprobs.extend(d.logprobs)
        self.finish_reason = d.finish_reason or self.finish_reason

    def body(self, index: int) -> dict[str, Any]:
        logprobs = logprobs_body(self.logprobs, 0) if self.logprobs else None
        return _choice_body(index, "".join(self.text), logprobs, self.finish_reason)


def _choice_body(
    index: int, text: str, logprobs: dict[str, Any] | None, finish_reason: FinishReason | None
) -> dict[str, Any]:
    return {"text": text, "index": index, "logprobs": logprobs, "finish_reason": finish_reason}


def logprobs_body(tokens: Sequence[TokenLogprob], offset: int) -> dict[str, Any]:
    """OpenAI's older form: arrays side by side; the chosen token is always among the top ones."""
    offsets = []
    for x in tokens:
        offsets.append(offset)
        offset += len(x.token)
    return {
        "tokens": [x.token for x in tokens],
        "token_logprobs": [finite(x.logprob) for x in tokens],
        "top_logprobs": [{t.token: finite(t.logprob) for t in (*x.top, x)} for x in tokens],
        "text_offset": offsets,
    }
