"""How many sequences vLLM computes at once."""

from typing import Any


def seats_of(config: Any) -> int:
    """Of a VllmConfig: all of its schedulers together."""
    ranks: int = config.parallel_config.data_parallel_size
    most: int = config.scheduler_config.max_num_seqs
    return most * ranks
