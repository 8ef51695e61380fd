"""How many sequences vLLM computes at once, and whether its cache holds fewer."""

from typing import Any

from engines.stats import EngineStats

FULL_CACHE = 0.9
"""Of its cache in use, by which what waits in vLLM waits for room in it."""


def seats_of(config: Any) -> int:
    """Of a VllmConfig: all of its schedulers together."""
    ranks: int = config.parallel_config.data_parallel_size
    most: int = config.scheduler_config.max_num_seqs
    return most * ranks


def is_short(stats: EngineStats | None) -> bool:
    """By figures that are a second old at most."""
    return stats is not None and stats.waiting_requests > 0 and stats.kv_cache_usage >= FULL_CACHE
