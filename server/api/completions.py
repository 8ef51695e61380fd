"""/v1/completions: a text goes on; OpenAI's older form, over the same way as chat."""

import time
from collections.abc import Sequence
from typing import Annotated

from msgspec.structs import replace
from pydantic import Field, TypeAdapter

from engines.base import GenerateRequest, Sampling
from engines.registry.spec import ModelSpec
from server.api.chat.request import bound, structure, truncation
from server.api.chat.sampling import sampling
from server.api.chat.thinking import budget_of
from server.api.chat.unmet import refuse_unmet_choices
from server.api.chat.wire import ChoiceFields, ResponseFormat
from server.api.completion_answers import (
    CompletionAnswer,
    CompletionMembers,
    CompletionStream,
    Echo,
    EchoingCompletionStream,
    MeteredCompletionStream,
)
from server.api.fields import COMPLETIONS as FIELDS
from server.api.prompts import TokenIds, prompts_of
from server.errors import ApiError
from server.ids import new_id
from server.requests.plan import Plan, Stream, Whole

DEFAULT_MAX_TOKENS = 16
"""OpenAI's own for this endpoint; the service documents none."""
MAX_PROMPTS = 128


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
        Annotated[int, Field(ge=0, le=2**31 - 1)] | None,
        Field(
            description="Most completion tokens; 0, with echo, reads the prompt alone",
            json_schema_extra={"default": 16},
        ),
    ] = None
    logprobs: Annotated[
        Annotated[int, Field(ge=0, le=20)] | None,
        Field(description="Log probabilities of the chosen token and of so many likely ones"),
    ] = None
    echo: Annotated[
        bool | None, Field(description="The prompt before each answer, with logprobs its own")
    ] = False
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
    _refuse_what_is_not_there(wire)
    drawn = _sampling(wire, spec, is_told := _is_told(wire, prompts))
    requests = tuple(
        _request(wire, prompt, drawn, f"{request_id}.{i}" if i else request_id)
        for i, prompt in enumerate(prompts)
    )
    echoes = [_echo(wire, p, is_told) for p in prompts for _ in range(drawn.n)]
    members: CompletionMembers = {
        "id": f"cmpl-{new_id(28)}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": wire.model,
    }
    is_metered = bool(wire.stream) and wire.wants_running_usage
    shows_logprobs = wire.logprobs is not None
    shape: Stream | Whole = CompletionAnswer(members, echoes, shows_logprobs)
    if wire.stream:
        plain = EchoingCompletionStream if is_told else CompletionStream
        form = MeteredCompletionStream if is_metered else plain
        shape = form(members, echoes, wire.wants_usage, shows_logprobs)
    return Plan(
        requests=requests,
        shape=shape,
        has_max_tokens=wire.has_max_tokens,
        wire_names={"messages": "prompt"},
        truncation=truncation(wire),
        has_running_usage=is_metered,
    )


def _is_told(wire: CompletionRequest, prompts: Sequence[object]) -> bool:
    """Whether the echo is what the engine tells of the prompt: with log probabilities, of token
    ids, and of what a truncation leaves."""
    by_tokens = wire.logprobs is not None or wire.truncate_prompt_tokens is not None
    return bool(wire.echo) and (by_tokens or not all(isinstance(p, str) for p in prompts))


def _echo(wire: CompletionRequest, prompt: object, is_told: bool) -> Echo:
    is_whole = isinstance(prompt, str) and wire.truncate_prompt_tokens is None
    return Echo(str(prompt) if wire.echo and is_whole else "", is_told)


def _sampling(wire: CompletionRequest, spec: ModelSpec, is_told: bool) -> Sampling:
    drawn = sampling(
        wire,
        spec,
        max_tokens=bound(spec, "max_tokens", wire.max_tokens, DEFAULT_MAX_TOKENS),
        n=wire.n or 1,
        logprobs=wire.logprobs,
    )
    told = (wire.logprobs or 0) if is_told else None
    return replace(drawn, prompt_logprobs=told, thinking_budget=budget_of(wire, spec))


def _request(
    wire: CompletionRequest, prompt: str | Sequence[int], drawn: Sampling, request_id: str
) -> GenerateRequest:
    return GenerateRequest(
        request_id=request_id,
        sampling=drawn,
        prompt=prompt,
        structure=structure(wire.response_format, wire.structured_outputs),
        is_cut=wire.truncate_prompt_tokens is not None,
        stream=bool(wire.stream),
    )


def _refuse_what_is_not_there(wire: CompletionRequest) -> None:
    if wire.suffix:
        message = "suffix is not supported: these models go on at the end only."
        raise ApiError.invalid(message, "suffix", wire.suffix[:80], "null")
    if wire.best_of is not None and wire.best_of != (wire.n or 1):
        message = f"best_of is {wire.best_of}, n is {wire.n or 1}: only as many as n are generated."
        raise ApiError.invalid(message, "best_of", wire.best_of, f"{wire.n or 1}, as n")
    if wire.max_tokens == 0 and not wire.echo:
        message = "max_tokens is 0, and without echo there is nothing to answer."
        raise ApiError.invalid(message, "max_tokens", 0, "at least 1, or echo true")
