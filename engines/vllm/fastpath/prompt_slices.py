"""Long prompts in slices, one prompt at a time, while streams run: in the engine's process.

vLLM fills a step with a prompt up to max_num_batched_tokens, and all streams wait until it is read.
Here a long prompt has a slice of each step (slice_pace.py) and other long ones wait for it; short
ones have steps of their own in between, whole, as in vLLM. Without streams vLLM plans as it does.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from engines.vllm.fastpath.slice_pace import LEAST_TOKENS, SlicePace

LONG_TOKENS = 512
"""A prompt of more is a long one."""
_LOOK_AT = 1024
_FORGET_EVERY = 32
"""Steps: what is over is looked for so often."""
_LIMITS = ("max_num_running_reqs", "max_num_active_reqs")
"""Of a scheduler: how many requests may run; those that are parked do."""
KEY = "fjord_prefill_step_ms"
"""In VllmConfig's `additional_config`, where it is not the default."""
DEFAULT_MS = 16.0


class PromptSlices:
    """Of one of vLLM's schedulers."""

    def __init__(self, scheduler: Any, limit_ms: float) -> None:
        config = scheduler.scheduler_config
        self._most_tokens = scheduler.max_num_scheduled_tokens
        self._pace = SlicePace(limit_ms / 1e3, max(LEAST_TOKENS, self._most_tokens))
        self._spare_blocks = config.max_num_seqs + 1 + self._most_tokens // scheduler.block_size
        """What a step can need at most."""
        self._long: set[str] = set()
        self._unstarted: dict[str, int] = {}
        """Prompt tokens, by request."""
        drafts = scheduler.vllm_config.speculative_config
        self._a_stream = 1 + (drafts.num_speculative_tokens if drafts else 0)
        """The most tokens of a stream in a step."""
        self._is_shorts_turn = False
        self._steps = 0
        self._look_at = _LOOK_AT

    @property
    def has_long(self) -> bool:
        return bool(self._long)

    def added(self, request: Any, requests: Mapping[str, Any]) -> None:
        """`requests`: all that the scheduler has."""
        if len(self._unstarted) >= self._look_at:  # some were aborted before they began
            self._forget(requests)
            self._look_at = max(_LOOK_AT, 2 * len(self._unstarted))
        self._unstarted[request.request_id] = request.num_prompt_tokens
        if request.num_prompt_tokens > LONG_TOKENS:
            self._long.add(request.request_id)

    def planned(self, scheduled: Any) -> None:
        """What `schedule` returned."""
        for new in scheduled.scheduled_new_reqs:
            self._unstarted.pop(new.req_id, None)
        tokens = scheduled.total_num_scheduled_tokens
        drafts = sum(map(len, scheduled.scheduled_spec_decode_tokens.values()))
        of_prompts = tokens - len(scheduled.num_scheduled_tokens) - drafts
        is_reading = bool(scheduled.scheduled_new_reqs) or of_prompts > 0
        self._pace.begins(tokens, max(1, of_prompts) if is_reading else 0)

    def ended(self) -> None:
        self._pace.ended()

    @contextmanager
    def held(self, scheduler: Any) -> Iterator[None]:
        """While the scheduler plans a step."""
        parked = self._bound(scheduler)
        if parked is None:
            yield
            return
        limits = {name: getattr(scheduler, name) for name in _LIMITS if hasattr(scheduler, name)}
        for name, most in limits.items():
            setattr(scheduler, name, most - len(parked))
        try:
            yield
        finally:
            for name, most in limits.items():
                setattr(scheduler, name, most)
            scheduler.max_num_scheduled_tokens = self._most_tokens
            scheduler.running.extend(parked)

    def _bound(self, scheduler: Any) -> list[Any] | None:
        """The long prompts that wait in this step; None: nothing is bound."""
        self._steps += 1
        if self._steps % _FORGET_EVERY == 1:
            self._forget(scheduler.requests)
        streams, short, long = self._sorted(scheduler.running)
        waiting = len(long) + len(self._long & self._unstarted.keys())
        if not streams or not waiting:
            self._forget(scheduler.requests)
            return None
        coming = self._coming(scheduler)
        self._pace.waiting = waiting
        self._is_shorts_turn = bool(coming) and not self._is_shorts_turn
        is_without = not self._is_shorts_turn and self._pace.is_due()
        reads = 0 if self._is_shorts_turn or is_without else 1
        parked = long[reads:] if self._may_park(scheduler, long) else []
        tokens = sum(map(_next_tokens, streams)) + sum(map(_unread, short))
        tokens += coming if self._is_shorts_turn else reads * self._pace.tokens
        scheduler.running[:] = [*streams, *short, *long[: len(long) - len(parked)]]
        scheduler.max_num_scheduled_tokens = min(self._most_tokens, tokens)
        return parked

    def _coming(self, scheduler: Any) -> int:
        """Tokens of the short prompts that can begin."""
        if len(scheduler.running) >= scheduler.max_num_running_reqs:
            return 0
        return sum(tokens for tokens in self._unstarted.values() if tokens <= LONG_TOKENS)

    def _may_park(self, scheduler: Any, long: list[Any]) -> bool:
        """Who holds what others need may have to give it back: blocks, or room for pictures. And
        vLLM admits others by the adapters of those that it plans alone."""
        free = scheduler.kv_cache_manager.block_pool.get_num_free_blocks()
        is_free = free > self._spare_blocks
        return is_free and not any(each.mm_features or each.lora_request for each in long)

    def _forget(self, requests: Mapping[str, Any]) -> None:
        """Those that are gone, or read."""
        self._unstarted = {k: n for k, n in self._unstarted.items() if k in requests}
        self._long = {
            name
            for name in self._long
            if name in self._unstarted or (name in requests and _unread(requests[name]) > 1)
        }

    def _sorted(self, running: list[Any]) -> tuple[list[Any], list[Any], list[Any]]:
        """Streams, short prompts and long ones, these in the order in which they are read."""
        found: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
        for request in running:
            unread = _unread(request)
            is_long = unread > LONG_TOKENS or request.request_id in self._long
            found[0 if unread <= self._a_stream else 1 + is_long].append(request)
        found[2].sort(key=lambda request: (request.priority, request.arrival_time))
        return found


def prompt_slices(scheduler: Any) -> PromptSlices | None:
    """None: its operator wants none, or says how long prompts are cut, or it cannot cut them."""
    more = scheduler.vllm_config.additional_config
    limit_ms = more.get(KEY, DEFAULT_MS) if isinstance(more, dict) else DEFAULT_MS
    config, parallel = scheduler.scheduler_config, scheduler.vllm_config.parallel_config
    is_cut_otherwise = (
        config.long_prefill_token_threshold
        or not config.enable_chunked_prefill
        or config.disable_chunked_mm_input
        or parallel.pipeline_parallel_size > 1
        or scheduler.connector is not None
        or getattr(scheduler, "need_mamba_block_aligned_split", False)
        or getattr(config, "prefill_schedule_interval", 1) > 1
    )
    return None if is_cut_otherwise or not limit_ms else PromptSlices(scheduler, limit_ms)


def _unread(request: Any) -> int:
    """A stream's is 1: its last token."""
    return int(request.num_tokens - request.num_computed_tokens)


def _next_tokens(stream: Any) -> int:
    """With what was drafted for it."""
    planned = stream.num_tokens_with_spec + stream.num_output_placeholders
    return max(0, int(planned - stream.num_computed_tokens))
