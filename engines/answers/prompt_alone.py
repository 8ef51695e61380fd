"""Requests that have their prompt read and nothing said (max_tokens 0), on engines that always say
a token. Knows no engine."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from msgspec.structs import replace

from engines.base import Delta, GenerateRequest, TokenLogprob


def is_prompt_alone(request: GenerateRequest) -> bool:
    return request.sampling.max_tokens == 0


def with_a_token(request: GenerateRequest) -> GenerateRequest:
    """As the engine gets it then."""
    return replace(request, sampling=replace(request.sampling, max_tokens=1), stream=False)


async def without_tokens(deltas: AsyncGenerator[Delta, None]) -> AsyncGenerator[Delta, None]:
    """The end of each choice, with what the engine told of the prompt; the token is nobody's."""
    cached: dict[int, int] = {}
    prompts: dict[int, tuple[TokenLogprob, ...]] = {}
    async with aclosing(deltas):
        async for delta in deltas:
            cached[delta.index] = cached.get(delta.index, 0) + delta.cached_tokens
            if delta.prompt_logprobs:
                prompts[delta.index] = delta.prompt_logprobs
            if delta.finish_reason is not None:
                yield Delta(
                    index=delta.index,
                    finish_reason="abort" if delta.finish_reason == "abort" else "length",
                    cached_tokens=cached[delta.index],
                    prompt_logprobs=prompts.get(delta.index, ()),
                )
