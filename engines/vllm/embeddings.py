"""Vectors from vLLM's pooling engine."""

import asyncio
from collections.abc import Sequence
from typing import Any

from engines.base import (
    ContextLengthExceeded,
    Embedding,
    InvalidRequest,
)
from engines.vllm.errors import engine_error, is_clients, message_of, raise_as


async def embeddings(
    llm: Any, request_id: str, prompts: Sequence[Any], context_tokens: int, running: set[Any]
) -> list[Embedding]:
    """Of rendered prompts, in order."""
    work = [
        embedding(llm, f"{request_id}-{i}", prompt, context_tokens, running)
        for i, prompt in enumerate(prompts)
    ]
    return await all_or_none(work)


async def embedding(
    llm: Any, request_id: str, prompt: Any, context_tokens: int, running: set[Any]
) -> Embedding:
    """One rendered prompt's vector; cancelling it gives the request up."""
    from vllm.pooling_params import PoolingParams

    count = len(prompt["prompt_token_ids"])
    if count > context_tokens:
        raise ContextLengthExceeded(count, None, context_tokens)
    collector = await _submitted(llm, request_id, prompt, PoolingParams(task="embed"))
    running.add(collector)
    try:
        output = await collector.get()
    except asyncio.CancelledError:
        await llm.abort(collector.request_id, internal=True)
        raise
    except Exception as error:
        raise_as(engine_error(error, llm), error)
    finally:
        running.discard(collector)
    return Embedding(vector=output.outputs.data.float().tolist(), prompt_tokens=count)


async def _submitted(llm: Any, request_id: str, prompt: Any, params: Any) -> Any:
    """vLLM's collector of the vector."""
    try:
        return await llm.add_request(request_id, prompt, params)
    except Exception as error:
        outcome = engine_error(error, llm)
        if is_clients(outcome):
            outcome = InvalidRequest(f"The input cannot be embedded: {message_of(error)}", "input")
        raise_as(outcome, error)


async def all_or_none(work: Sequence[Any]) -> list[Embedding]:
    """Run them side by side; where one fails, the others are given up."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
