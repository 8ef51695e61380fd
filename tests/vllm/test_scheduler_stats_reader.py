"""Our reader of vLLM's statistics, which stands where vLLM has its loggers."""

import warnings

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
