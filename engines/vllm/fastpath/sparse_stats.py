"""vLLM's scheduler statistics once a second instead of with every step's message."""

import time
from collections.abc import Callable
from typing import Any

PERIOD_S = 1.0


class SparseStats:
    """When a scheduler's statistics go, and what of a step's own would be lost until then. The
    rest of them vLLM adds up itself."""

    def __init__(
        self, period_s: float = PERIOD_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._period_s = period_s
        self._clock = clock
        self._sent_at = -period_s
        self._was_idle = True
        self._drafts: Any = None
        self._preemptions = 0

    def preempted(self) -> None:
        """A request was put back."""
        self._preemptions += 1

    def is_due(self, drafts: Any, is_idle: bool) -> bool:
        """A step has ended, with these statistics of its drafts or None: whether to send now. Also
        when the last request has ended, since no step follows that would say so."""
        if drafts is not None:
            self._drafts = _added(self._drafts, drafts)
        now = self._clock()
        has_ended = is_idle and not self._was_idle
        self._was_idle = is_idle
        if not has_ended and now - self._sent_at < self._period_s:
            return False
        self._sent_at = now
        return True

    def take(self, stats: Any) -> Any:
        """vLLM's statistics with those of all steps since the last ones."""
        stats.spec_decoding_stats, self._drafts = self._drafts, None
        stats.prefix_cache_stats.preempted_requests, self._preemptions = self._preemptions, 0
        return stats


def _added(before: Any, drafts: Any) -> Any:
    if before is None:
        return drafts
    before.num_draft_tokens += drafts.num_draft_tokens
    before.num_accepted_tokens += drafts.num_accepted_tokens
    return before
