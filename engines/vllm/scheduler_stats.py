"""vLLM's own figures of its schedulers, as they come with its messages."""

from typing import Any

from engines.stats import EngineStats

FULL_CACHE = 0.9
"""Of the cache in use: what waits in vLLM then waits for room in it."""


class SchedulerStatsReader:
    """Stands where vLLM has its stat loggers, and is asked as one; one engine's, all its ranks."""

    def __init__(self) -> None:
        self._now: dict[int, tuple[int, int, float]] = {}
        self._preemptions = 0
        self._prefix_query_tokens = 0
        self._prefix_hit_tokens = 0
        self._draft_tokens = 0
        self._accepted_tokens = 0

    def attach(self, llm: Any) -> None:
        """From its first message on, an AsyncLLM tells this one what its engine sends: beside
        vLLM's own loggers where it keeps statistics, else alone."""
        manager = getattr(llm, "logger_manager", None)
        if manager is None or isinstance(manager, SchedulerStatsReader):
            llm.logger_manager = self
        else:
            manager.stat_loggers.append(self)

    def record_admission_rejection(self, reason: Any) -> None:
        """vLLM counts those; ours are counted where they are refused."""

    def record(
        self,
        scheduler_stats: Any,
        iteration_stats: Any,
        mm_cache_stats: Any = None,
        engine_idx: int | None = None,
    ) -> None:
        """With every message; most of them bring nothing."""
        if iteration_stats is not None:
            self._preemptions += iteration_stats.num_preempted_reqs
        if scheduler_stats is None:
            return
        self._now[engine_idx or 0] = (
            scheduler_stats.num_running_reqs,
            scheduler_stats.num_waiting_reqs + scheduler_stats.num_skipped_waiting_reqs,
            scheduler_stats.kv_cache_usage,
        )
        prefix = scheduler_stats.prefix_cache_stats
        if prefix is not None:
            self._prefix_query_tokens += prefix.queries
            self._prefix_hit_tokens += prefix.hits
            if iteration_stats is None:
                self._preemptions += prefix.preempted_requests
        drafts = scheduler_stats.spec_decoding_stats
        if drafts is not None:
            self._draft_tokens += drafts.num_draft_tokens
            self._accepted_tokens += drafts.num_accepted_tokens

    def waiting_for_cache(self, sequences: int) -> int:
        """Of so many: while the cache is full as many run as by the last figures, which are a
        second old at most."""
        if not self._now or max(usage for *_, usage in self._now.values()) < FULL_CACHE:
            return 0
        return max(0, sequences - sum(running for running, *_ in self._now.values()))

    def log(self) -> None:
        """vLLM asks for a line; there is none."""

    def log_engine_initialized(self) -> None:
        """As `log`."""

    def record_sleep_state(self, sleep: int = 0, level: int = 0) -> None:
        """The fleet knows it."""

    def read(self) -> EngineStats | None:
        """None before the first figures."""
        if not self._now:
            return None
        running, waiting, usage = zip(*self._now.values(), strict=True)
        return EngineStats(
            running_requests=sum(running),
            waiting_requests=sum(waiting),
            kv_cache_usage=max(usage),
            preemptions=self._preemptions,
            prefix_query_tokens=self._prefix_query_tokens,
            prefix_hit_tokens=self._prefix_hit_tokens,
            draft_tokens=self._draft_tokens,
            accepted_tokens=self._accepted_tokens,
        )
