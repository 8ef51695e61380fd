"""Has a new engine batch its tokens at their source, where its scheduler is one that is known."""

from typing import Any

from engines.vllm.fastpath.left_out import leave_out


def batch_at_source(config: Any) -> None:
    """Have a VllmConfig make the batching form of the scheduler that it would make; one that its
    operator chose stays. First the form proves itself on vLLM's own messages."""
    try:
        from engines.vllm.fastpath.scheduler import batching_scheduler, prove_batching

        prove_batching()
        scheduler = config.scheduler_config
        if scheduler.scheduler_cls is None:
            scheduler.scheduler_cls = batching_scheduler(scheduler.get_scheduler_cls())
    except Exception as error:
        leave_out("token batching", error)
