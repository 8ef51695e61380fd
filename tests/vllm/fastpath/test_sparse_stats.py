"""A scheduler's statistics once a second: nothing of the steps between is lost."""

from types import SimpleNamespace
from typing import Any

from engines.vllm.fastpath.sparse_stats import SparseStats


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def drafts(proposed: int, accepted: int) -> Any:
    return SimpleNamespace(num_draft_tokens=proposed, num_accepted_tokens=accepted)


def vllm_stats() -> Any:
    prefix = SimpleNamespace(preempted_requests=0)
    return SimpleNamespace(spec_decoding_stats=None, prefix_cache_stats=prefix)


def test_a_busy_scheduler_tells_once_a_period_and_once_at_its_end() -> None:
    clock = Clock()
    stats = SparseStats(1.0, clock)
    told = []
    for step in range(40):
        clock.now = 100 + step * 0.1
        told.append(stats.is_due(None, is_idle=step >= 35))
    assert [step for step, is_told in enumerate(told) if is_told] == [0, 10, 20, 30, 35]


def test_drafts_and_preemptions_of_the_steps_between_are_told_with_the_next() -> None:
    clock = Clock()
    stats = SparseStats(1.0, clock)
    assert stats.is_due(drafts(4, 1), is_idle=False)
    first = stats.take(vllm_stats())
    assert first.spec_decoding_stats.num_accepted_tokens == 1
    stats.preempted()
    for _ in range(3):
        assert not stats.is_due(drafts(4, 2), is_idle=False)
    stats.preempted()
    clock.now += 1
    assert stats.is_due(None, is_idle=False)
    told = stats.take(vllm_stats())
    assert told.spec_decoding_stats.num_draft_tokens == 12
    assert told.spec_decoding_stats.num_accepted_tokens == 6
    assert told.prefix_cache_stats.preempted_requests == 2
    clock.now += 1
    assert stats.is_due(None, is_idle=False)
    last = stats.take(vllm_stats())
    assert last.spec_decoding_stats is None
    assert last.prefix_cache_stats.preempted_requests == 0
