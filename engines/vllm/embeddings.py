"""Vectors from vLLM's pooling engine."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from engines.base import ContextLengthExceeded, Embedding, InvalidRequest
from engines.inputs import input_at
from engines.vllm.errors import engine_error, is_clients, message_of, raise_as

R = TypeVar("R")


async def embeddings(
    llm: Any, request_id: str, prompts: Sequence[Any], context_tokens: int, running: set[Any]
) -> list[Embedding]:
    """Of rendered prompts, in order; none is read where one is too long."""
    for index, prompt in enumerate(prompts):
        count = len(prompt["prompt_token_ids"])
        if count > context_tokens:
            with input_at(index):
                raise ContextLengthExceeded(count, None, context_tokens)
    work = [
        _embedding(llm, f"{request_id}-{index}", index, prompt, running)
        for index, prompt in enumerate(prompts)
    ]
    return await all_or_none(work)


async def _embedding(
    llm: Any, request_id: str, index: int, prompt: Any, running: set[Any]
) -> Embedding:
    from vllm.pooling_params import PoolingParams

    with input_at(index):
        output = await outcome(llm, request_id, prompt, PoolingParams(task="embed"), running)
    return Embedding(
        vector=output.outputs.data.float().tolist(),
        prompt_tokens=len(prompt["prompt_token_ids"]),
        cached_tokens=cached_tokens(output),
    )


def cached_tokens(output: Any) -> int:
    """vLLM's own count; none is said where nothing is cached."""
    return max(0, getattr(output, "num_cached_tokens", 0) or 0)


async def outcome(
    llm: Any,
    request_id: str,
    prompt: Any,
    params: Any,
    running: set[Any],
    param: str = "input",
) -> Any:
    """vLLM's last output of one prompt, which `param` has brought; cancelling it gives the request
    up."""
    collector = await _submitted(llm, request_id, prompt, params, param)
    running.add(collector)
    try:
        return await collector.get()
    except asyncio.CancelledError:
        await llm.abort(collector.request_id, internal=True)
        raise
    except Exception as error:
        raise_as(engine_error(error, llm), error)
    finally:
        running.discard(collector)


async def _submitted(llm: Any, request_id: str, prompt: Any, params: Any, param: str) -> Any:
    """vLLM's collector of what is made."""
    try:
        return await llm.add_request(request_id, prompt, params)
    except Exception as error:
        told = engine_error(error, llm)
        if is_clients(told):
            told = InvalidRequest(f"The {param} cannot be read: {message_of(error)}", param)
        raise_as(told, error)


async def all_or_none(work: Sequence[Coroutine[Any, Any, R]]) -> list[R]:
    """Run them side by side; where one fails, the others are given up."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
