"""A seeded prompt that is read in several steps, on a CPU. Imported by the worker alone.

vLLM draws a token behind each piece of a prompt, throws it away, and turns the request's generator
back by an offset, which a CPU's has not: the engine died. Here it begins anew from its seed.
"""

import contextlib
from collections.abc import Callable
from functools import wraps
from typing import Any

from numpy import nonzero


def begun_anew(bookkeep: Callable[..., Any]) -> Callable[..., Any]:
    """`bookkeep`: GPUModelRunner._bookkeeping_sync."""

    @wraps(bookkeep)
    def booked(runner: Any, *args: Any, **kwargs: Any) -> Any:
        generators = runner.input_batch.generators
        held = {index: generators.pop(index) for index in _thrown_away(runner)}
        for index, generator in held.items():
            if not _has_output(runner, index):  # a preempted one's goes on
                generator.manual_seed(generator.initial_seed())
        try:
            return bookkeep(runner, *args, **kwargs)
        finally:
            generators.update(held)

    return booked


def _thrown_away(runner: Any) -> list[int]:
    """Rows with a generator whose drawn token nobody has."""
    batch = runner.input_batch
    rows = nonzero(runner.discard_request_mask.np[: batch.num_reqs])[0]
    return [int(row) for row in rows if int(row) in batch.generators]


def _has_output(runner: Any, index: int) -> bool:
    return bool(runner.requests[runner.input_batch.req_ids[index]].output_token_ids)


with contextlib.suppress(ImportError, AttributeError):  # a vLLM that does it otherwise
    from vllm.v1.worker.gpu_model_runner import GPUModelRunner

    GPUModelRunner._bookkeeping_sync = begun_anew(GPUModelRunner._bookkeeping_sync)
