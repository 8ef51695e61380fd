"""vLLM's schedulers, merging tokens at their source: in the engine's process, before they are sent.

What a token costs the front begins with its message: received, decoded, looked up, written. With
many streams the tokens of several steps go together, and all of that is paid once for them.
Loaded by name into the engine's process; it imports nothing else of ours but the rule.
"""

import logging
from typing import Any

from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.engine import EngineCoreOutputs

from engines.vllm.fastpath.token_batching import TokenBatching

_OWN = "Using custom scheduler class"


class _Batches:
    """A scheduler whose outputs wait for each other."""

    requests: dict[str, Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._merging = TokenBatching()

    def schedule(self, *args: Any, **kwargs: Any) -> Any:
        scheduled = super().schedule(*args, **kwargs)  # type: ignore[misc]
        self._merging.begins(scheduled.total_num_scheduled_tokens)
        return scheduled

    def update_from_output(self, *args: Any, **kwargs: Any) -> Any:
        found = super().update_from_output(*args, **kwargs)  # type: ignore[misc]
        outputs = {client: made.outputs for client, made in found.items()}
        for client, due in self._merging.due(outputs, self.requests).items():
            if client in found:
                found[client].outputs = due
            else:
                found[client] = EngineCoreOutputs(outputs=due)
        for client in [client for client, made in found.items() if _is_empty(made)]:
            del found[client]
        return found


def _is_empty(made: EngineCoreOutputs) -> bool:
    return not made.outputs and made.scheduler_stats is None and made.finished_requests is None


class BatchingScheduler(_Batches, Scheduler):  # type: ignore[misc]
    """vLLM's own."""


class BatchingAsyncScheduler(_Batches, AsyncScheduler):  # type: ignore[misc]
    """vLLM's own that plans a step while the last one runs."""


def batching_scheduler(base: type) -> type | None:
    """The merging form of a scheduler of vLLM's; None for one that is unknown here."""
    return {Scheduler: BatchingScheduler, AsyncScheduler: BatchingAsyncScheduler}.get(base)


def _is_news(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(_OWN)


logging.getLogger("vllm.config.scheduler").addFilter(_is_news)
