"""vLLM's schedulers, batching tokens at their source: in the engine's process, before sending.

What a token costs the front begins with its message: received, decoded, looked up, written. With
many streams the tokens of several steps go together, and all of that is paid once for them.
Loaded by name into the engine's process; it imports nothing else of ours but the rule, when
statistics go, the guard of forms, what parts and slices a prompt, and the warning. Where the rule
finds vLLM other than it knows it, every token goes at once, as vLLM sends them.
"""

import contextlib
import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.engine import EngineCoreOutput, EngineCoreOutputs

from engines.vllm.fastpath.form_guard import guard_forms
from engines.vllm.fastpath.left_out import leave_out
from engines.vllm.fastpath.prompt_slices import PromptSlices, prompt_slices
from engines.vllm.fastpath.shared_beginning import part_behind
from engines.vllm.fastpath.sparse_stats import SparseStats
from engines.vllm.fastpath.token_batching import TokenBatching

PART = "token batching"
STATISTICS = "the scheduler's statistics"
SLICES = "the slices of long prompts"
SHARED = "the shared beginning of prompts"
_CUSTOM_CLASS = "Using custom scheduler class"


class _Batches:
    """A scheduler whose outputs wait for each other. Mixed into one of vLLM's."""

    requests: dict[str, Any]
    structured_output_manager: Any
    log_stats: bool
    hash_block_size: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Where vLLM is to keep statistics itself, they go with every step, as its own.
        self._stats = SparseStats() if kwargs.get("log_stats") is False else None
        if self._stats is not None:
            kwargs["log_stats"] = True
        super().__init__(*args, **kwargs)
        self._batching: TokenBatching | None = TokenBatching()
        self._has_failed = False
        self._parts_behind = True
        self._slices = self._made_slices()
        try:
            guard_forms(self.structured_output_manager)
        except Exception as error:
            leave_out("the guard of forms", error)

    def _made_slices(self) -> PromptSlices | None:
        try:
            return prompt_slices(self)
        except Exception as error:
            leave_out(SLICES, error)
            return None

    def add_request(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        if self._parts_behind:
            try:
                part_behind(request, self.hash_block_size)
            except Exception as error:
                leave_out(SHARED, error)
                self._parts_behind = False
        self._slice(lambda slices: slices.added(request, self.requests))
        return super().add_request(request, *args, **kwargs)  # type: ignore[misc]

    def schedule(self, *args: Any, **kwargs: Any) -> Any:
        scheduled = self._planned(*args, **kwargs)
        self._slice(lambda slices: slices.planned(scheduled))
        if self._batching is not None:
            try:
                self._batching.begins(scheduled.total_num_scheduled_tokens)
            except Exception as error:
                leave_out(PART, error)  # what waits goes with the step's end
                self._has_failed = True
        return scheduled

    def _planned(self, *args: Any, **kwargs: Any) -> Any:
        if self._slices is None or not self._slices.has_long:
            return super().schedule(*args, **kwargs)  # type: ignore[misc]
        with contextlib.ExitStack() as held:
            self._slice(lambda slices: held.enter_context(slices.held(self)))
            return super().schedule(*args, **kwargs)  # type: ignore[misc]

    def _slice(self, step: Callable[[PromptSlices], Any]) -> None:
        if self._slices is not None:
            try:
                step(self._slices)
            except Exception as error:
                leave_out(SLICES, error)
                self._slices = None

    def update_from_output(self, *args: Any, **kwargs: Any) -> Any:
        self._slice(PromptSlices.ended)
        messages = super().update_from_output(*args, **kwargs)  # type: ignore[misc]
        batching = self._batching
        if batching is None:
            return messages
        if not self._has_failed:
            try:
                return batched(messages, batching, self.requests)
            except Exception as error:
                leave_out(PART, error)
        self._batching = None
        return released(messages, batching)

    def make_stats(self, spec_decoding_stats: Any = None, *args: Any, **kwargs: Any) -> Any:
        stats = self._stats
        if stats is None:
            return super().make_stats(spec_decoding_stats, *args, **kwargs)  # type: ignore[misc]
        try:
            if not stats.is_due(spec_decoding_stats, not self.requests):
                return None
            return stats.take(super().make_stats(None, *args, **kwargs))  # type: ignore[misc]
        except Exception as error:
            leave_out(STATISTICS, error)
            self._stats, self.log_stats = None, False
            return None

    def _preempt_request(self, *args: Any, **kwargs: Any) -> Any:
        if self._stats is not None:
            self._stats.preempted()
        return super()._preempt_request(*args, **kwargs)  # type: ignore[misc]


def batched(
    messages: dict[int, Any], batching: TokenBatching, requests: dict[str, Any]
) -> dict[int, Any]:
    """A step's messages, by client, with the outputs that are due."""
    outputs = {client: message.outputs for client, message in messages.items()}
    due = batching.due(outputs, requests)
    for client, ready in due.items():
        if client in messages:
            messages[client].outputs = ready
        else:
            messages[client] = EngineCoreOutputs(outputs=ready)
    for client in [client for client, message in messages.items() if _is_empty(message)]:
        del messages[client]
    return messages


def released(messages: dict[int, Any], batching: TokenBatching) -> dict[int, Any]:
    """A step's messages, by client, as vLLM made them, after all that waited."""
    for client, waiting in batching.release().items():
        if not waiting:
            continue
        message = messages.setdefault(client, EngineCoreOutputs(outputs=[]))
        message.outputs = [*waiting.values(), *message.outputs]
    return messages


def prove_batching() -> None:
    """Hold one token back and let it go with the next. Raises where that is not the outcome."""
    batching = TokenBatching(delay_s=60.0)
    sampling = SimpleNamespace(stop=[], logprobs=None)
    request = SimpleNamespace(sampling_params=sampling, num_output_tokens=9)
    requests: dict[str, Any] = {str(number): request for number in range(9)}
    batching.begins(1)
    message = EngineCoreOutputs(outputs=[EngineCoreOutput(request_id="0", new_token_ids=[1])])
    if batched({0: message}, batching, requests) != {}:
        raise RuntimeError("a token that may wait did not")
    message = EngineCoreOutputs(outputs=[EngineCoreOutput(request_id="0", new_token_ids=[2])])
    [output] = batched({0: message}, batching, {})[0].outputs
    if output.new_token_ids != [1, 2]:
        raise RuntimeError("tokens that waited did not go with the next")


def _is_empty(message: EngineCoreOutputs) -> bool:
    return (
        not message.outputs
        and message.scheduler_stats is None
        and message.finished_requests is None
    )


class BatchingScheduler(_Batches, Scheduler):  # type: ignore[misc]
    """vLLM's own."""


class BatchingAsyncScheduler(_Batches, AsyncScheduler):  # type: ignore[misc]
    """vLLM's own that plans a step while the last one runs."""


def batching_scheduler(base: type) -> type | None:
    """The batching form of a scheduler of vLLM's; None for one that is unknown here."""
    return {Scheduler: BatchingScheduler, AsyncScheduler: BatchingAsyncScheduler}.get(base)


def _is_news(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(_CUSTOM_CLASS)


logging.getLogger("vllm.config.scheduler").addFilter(_is_news)
