"""What a running vLLM engine tells of itself: its schedulers' figures, its seats, its memory."""

from collections.abc import Sequence
from typing import Any

from engines.memory_in_use import MemoryInUse
from engines.stats import EngineStats
from engines.vllm.scheduler_stats import SchedulerStatsReader


class EngineFigures:
    """Satisfies HasStats and HasSeats."""

    _scheduler_stats: SchedulerStatsReader
    _memory: Sequence[MemoryInUse] = ()

    def _alive(self) -> Any:
        """vLLM's AsyncLLM. Raises EngineDead."""
        raise NotImplementedError

    def stats(self) -> EngineStats | None:
        return self._scheduler_stats.read()

    @property
    def seats(self) -> int:
        return seats_of(self._alive().vllm_config)

    def waiting_for_cache(self, sequences: int) -> int:
        return self._scheduler_stats.waiting_for_cache(sequences)

    def memory_in_use(self) -> Sequence[MemoryInUse]:
        return self._memory


def seats_of(config: Any) -> int:
    """Of a VllmConfig: all of its schedulers together."""
    ranks: int = config.parallel_config.data_parallel_size
    most: int = config.scheduler_config.max_num_seqs
    return most * ranks
