"""Our reader of vLLM's statistics, which stands where vLLM has its loggers."""

import warnings
from types import SimpleNamespace
from typing import Any

import pytest

from engines.vllm.scheduler_stats import SchedulerStatsReader


@pytest.mark.vllm
def test_it_answers_all_that_vllm_tells_its_loggers() -> None:
    """What it lacks would be some request's 500."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # vLLM's libraries warn while they are imported
        from vllm.v1.metrics.loggers import StatLoggerManager

    told = {name for name in vars(StatLoggerManager) if not name.startswith("_")}
    assert "record" in told
    assert told <= set(dir(SchedulerStatsReader))


def figures(running: int, waiting: int, usage: float) -> Any:
    return SimpleNamespace(
        num_running_reqs=running,
        num_waiting_reqs=waiting,
        num_skipped_waiting_reqs=0,
        kv_cache_usage=usage,
        prefix_cache_stats=None,
        spec_decoding_stats=None,
    )


def test_what_waits_for_the_cache_is_told_by_what_runs_while_it_is_full() -> None:
    """Also of what is on its way since the last figures."""
    reader = SchedulerStatsReader()
    assert reader.waiting_for_cache(500) == 0
    reader.record(figures(20, 40, 0.5), None)  # its steps are full, not its cache
    assert reader.waiting_for_cache(500) == 0
    reader.record(figures(20, 40, 0.95), None, engine_idx=1)
    assert reader.waiting_for_cache(70) == 30
    assert reader.waiting_for_cache(10) == 0
