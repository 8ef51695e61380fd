"""Several prompts of one request, generated at once and told apart by their choices' indices."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from msgspec.structs import replace

from engines.base import Delta, Engine, GenerateRequest, Prompt, Sink
from server.requests.held import generate

_WAITING = 64
"""Deltas that wait for a slow reader; beyond them the engine's generators wait."""


def generated(
    engine: Engine, requests: Sequence[GenerateRequest], prompts: Sequence[Prompt], sink: Sink
) -> AsyncGenerator[Delta, None]:
    """The deltas of all requests; the usual single one without a hop between, and past it where
    `sink` takes them at once."""
    if len(requests) == 1:
        return generate(engine, requests[0], prompts[0], sink)
    return _interleaved(engine, requests, prompts)


async def _interleaved(
    engine: Engine, requests: Sequence[GenerateRequest], prompts: Sequence[Prompt]
) -> AsyncGenerator[Delta, None]:
    deltas: asyncio.Queue[Delta | Exception | None] = asyncio.Queue(_WAITING)

    async def pump(first_index: int, request: GenerateRequest, prompt: Prompt) -> None:
        try:
            async with aclosing(generate(engine, request, prompt)) as own:
                async for d in own:
                    await deltas.put(replace(d, index=first_index + d.index))
        except Exception as exc:
            await deltas.put(exc)
        else:
            await deltas.put(None)

    tasks = []
    first_index = 0
    for request, prompt in zip(requests, prompts, strict=True):
        tasks.append(asyncio.create_task(pump(first_index, request, prompt)))
        first_index += request.sampling.n
    try:
        running = len(tasks)
        while running:
            d = await deltas.get()
            if isinstance(d, Delta):
                yield d
            elif d is None:
                running -= 1
            else:
                raise d
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
