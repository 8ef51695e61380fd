"""Vectors from vLLM's pooling engine."""

import asyncio
from collections.abc import Sequence
from typing import Any

from engines.base import (
    ContextLengthExceeded,
    Embedding,
    EngineDead,
    EngineError,
    EngineOverloaded,
    InvalidRequest,
)


async def embedding(
    llm: Any, request_id: str, prompt: Any, context_tokens: int, running: set[Any]
) -> Embedding:
    """One rendered prompt's vector; cancelling it gives the request up."""
    from vllm.pooling_params import PoolingParams

    from vllm import exceptions

    count = len(prompt["prompt_token_ids"])
    if count > context_tokens:
        raise ContextLengthExceeded(count, None, context_tokens)
    try:
        collector = await llm.add_request(request_id, prompt, PoolingParams(task="embed"))
    except Exception as error:
        if isinstance(error, getattr(exceptions, "GracefulHTTPError", ())):
            raise EngineOverloaded("The engine's queue is full.") from error
        if llm.errored:
            raise EngineDead("The engine's process is gone.") from error
        raise InvalidRequest(f"The input cannot be embedded: {error}", "input") from error
    running.add(collector)
    try:
        output = await collector.get()
    except EngineError:
        raise
    except asyncio.CancelledError:
        await llm.abort(collector.request_id, internal=True)
        raise
    except Exception as error:
        raise EngineDead(f"The engine died while it embedded: {error}") from error
    finally:
        running.discard(collector)
    return Embedding(vector=output.outputs.data.float().tolist(), prompt_tokens=count)


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
