"""A call's requests and the prompts that its engine makes of them."""

from collections.abc import Sequence

from msgspec.structs import replace

from engines.base import (
    ContextLengthExceeded,
    Engine,
    GenerateRequest,
    InvalidRequest,
    Prompt,
)
from server.requests.plan import Call


async def prepared(call: Call, engine: Engine) -> tuple[list[GenerateRequest], list[Prompt]]:
    """As they are generated: prompts cut where the plan says so, `max_tokens` that fit. The record
    has what is billed as input. Raises InvalidRequest."""
    asked = call.plan.requests
    prompts = [await _rendered(call, engine, request) for request in asked]
    if call.plan.truncation is not None:
        pairs = zip(asked, prompts, strict=True)
        prompts = [await _kept(call, engine, request, prompt) for request, prompt in pairs]
    requests = [
        _fitted(call, request, prompt, engine.context_tokens)
        for request, prompt in zip(asked, prompts, strict=True)
    ]
    call.record.prompt_tokens = _billed_tokens(asked, prompts)
    return requests, prompts


async def _kept(call: Call, engine: Engine, request: GenerateRequest, prompt: Prompt) -> Prompt:
    """What the plan's truncation leaves of a prompt, as the engine reads it."""
    ids = _kept_token_ids(call, request, prompt, engine.context_tokens)
    if ids is None:
        return prompt
    return await engine.render(replace(request, messages=None, prompt=ids))


def _billed_tokens(requests: Sequence[GenerateRequest], prompts: Sequence[Prompt]) -> int:
    """As input: a prompt's own, or a recording's."""
    return sum(
        prompt.token_count if request.speech is None else request.speech.tokens
        for request, prompt in zip(requests, prompts, strict=True)
    )


def _kept_token_ids(
    call: Call, request: GenerateRequest, prompt: Prompt, engine_context_tokens: int
) -> Sequence[int] | None:
    """What the plan's truncation leaves of a prompt; None: all of it."""
    truncation = call.plan.truncation
    if truncation is None:
        return None
    answer = max(1, request.sampling.max_tokens if call.plan.has_max_tokens else 1)
    room = max(1, min(call.spec.context_tokens, engine_context_tokens) - answer)
    kept = truncation.kept(prompt.token_ids, room)
    return None if kept is prompt.token_ids else kept


async def _rendered(call: Call, engine: Engine, request: GenerateRequest) -> Prompt:
    """The request's prompt. Raises InvalidRequest; a context that the alias bounds lower than its
    engine is told as the alias'."""
    try:
        return await engine.render(request)
    except ContextLengthExceeded as exc:
        context = min(call.spec.context_tokens, exc.context_tokens)
        raise ContextLengthExceeded(
            exc.prompt_tokens, exc.max_tokens, context, characters=exc.characters
        ) from None


def _fitted(
    call: Call, request: GenerateRequest, prompt: Prompt, engine_context_tokens: int
) -> GenerateRequest:
    """The request with a max_tokens that fits the context: an explicit one is refused, a default
    one shrinks. Raises ContextLengthExceeded, and InvalidRequest where there is nothing to read:
    a model without a token for the beginning makes none of an empty text."""
    if prompt.token_count == 0:
        param = "prompt" if request.messages is None else "messages"
        raise InvalidRequest(f"The {param} has no tokens: there is nothing to go on from.", param)
    context = min(call.spec.context_tokens, engine_context_tokens)
    asked = request.sampling.max_tokens
    room = context - prompt.token_count
    if room < 1:
        raise ContextLengthExceeded(prompt.token_count, None, context)
    if asked <= room:
        return request
    if call.plan.has_max_tokens:
        raise ContextLengthExceeded(prompt.token_count, asked, context)
    return replace(request, sampling=replace(request.sampling, max_tokens=room))
