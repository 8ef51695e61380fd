"""Has a new engine batch its tokens at their source, where its scheduler is one that is known."""

from collections.abc import Mapping
from typing import Any

from engines.base import EngineUnavailable
from engines.vllm.fastpath.left_out import leave_out
from engines.vllm.fastpath.prompt_slices import DEFAULT_MS, KEY

ARGUMENT = "prefill_step_ms"
"""The engine argument: what a step that reads of a long prompt should take while streams run."""


def prefill_step_ms(args: Mapping[str, Any]) -> float:
    """Of an EngineSpec's; 0: vLLM's own steps. Raises EngineUnavailable for a wrong value."""
    limit = args.get(ARGUMENT, DEFAULT_MS)
    if isinstance(limit, bool) or not isinstance(limit, int | float) or not 0 <= limit <= 60_000:
        message = f"{ARGUMENT} is {limit!r}; right would be milliseconds up to 60000, or 0."
        raise EngineUnavailable(message)
    return float(limit)


def batch_at_source(config: Any, step_ms: float = DEFAULT_MS) -> None:
    """Have a VllmConfig make the batching form of the scheduler that it would make; one that its
    operator chose stays. First the form proves itself on vLLM's own messages."""
    try:
        from engines.vllm.fastpath.scheduler import batching_scheduler, prove_batching

        prove_batching()
        scheduler = config.scheduler_config
        if scheduler.scheduler_cls is None:
            if step_ms != DEFAULT_MS:
                config.additional_config = {**config.additional_config, KEY: step_ms}
            scheduler.scheduler_cls = batching_scheduler(scheduler.get_scheduler_cls())
    except Exception as error:
        leave_out("token batching", error)
