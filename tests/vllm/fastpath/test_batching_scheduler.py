"""Batching in the engine's process on vLLM's own messages: where it fails, no token is lost."""

import itertools
import warnings
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from engines.vllm.fastpath.private_names import ENGINE_PROCESS, STATISTICS
from engines.vllm.fastpath.sparse_stats import SparseStats
from engines.vllm.fastpath.token_batching_start import batch_at_source
from tests.support.hidden_names import hidden

pytestmark = pytest.mark.vllm
REQUESTS, STEPS = 20, 12
PROVEN = ("outputs",)
"""Without it there is nothing to send: it cannot go later, and the start has seen it."""
NOT_OF_MESSAGES = ("Scheduler", "StructuredOutputManager")


@pytest.fixture(scope="module")
def scheduler_class() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # vLLM's libraries warn while they are imported
        from engines.vllm.fastpath.scheduler import _Batches

    class Batching(_Batches, Steps):
        pass

    return Batching


class Steps:
    """As much of vLLM's scheduler as is extended: each step makes a token for each request, on
    vLLM's own messages."""

    def __init__(self, *, log_stats: bool = False) -> None:
        from vllm.sampling_params import SamplingParams
        from vllm.v1.request import Request

        self.requests = {
            f"r{number}": Request(f"r{number}", [1], SamplingParams(max_tokens=99), None)
            for number in range(REQUESTS)
        }
        self.client_of = {name: number % 2 for number, name in enumerate(self.requests)}

        self.log_stats = log_stats

    def schedule(self) -> Any:
        from vllm.v1.core.sched.output import SchedulerOutput

        return SchedulerOutput.make_empty()

    def update_from_output(self, token: int) -> dict[int, Any]:
        from vllm.v1.engine import EngineCoreOutput, EngineCoreOutputs

        messages: dict[int, Any] = {}
        for name, request in self.requests.items():
            request.append_output_token_ids([token])
            output = EngineCoreOutput(request_id=name, new_token_ids=[token])
            client = self.client_of[name]
            messages.setdefault(client, EngineCoreOutputs(outputs=[])).outputs.append(output)
        messages[0].scheduler_stats = self.make_stats(drafts())
        return messages

    def make_stats(self, spec_decoding_stats: Any = None) -> Any:
        from vllm.v1.metrics.stats import SchedulerStats

        if not self.log_stats:
            return None
        return SchedulerStats(num_running_reqs=REQUESTS, spec_decoding_stats=spec_decoding_stats)

    def _preempt_request(self) -> None: ...


def drafts() -> Any:
    """Of one step: four tokens proposed, one of them taken."""
    from vllm.v1.spec_decode.metrics import SpecDecodingStats

    stats = SpecDecodingStats.new(4)
    stats.observe_draft(num_draft_tokens=4, num_accepted_tokens=1)
    return stats


def statistics_of(scheduler: Any, steps: int) -> list[Any]:
    """What is told of so many steps."""
    told = []
    for step in range(steps):
        scheduler.schedule()
        for message in scheduler.update_from_output(step).values():
            told += [message.scheduler_stats] if message.scheduler_stats else []
    return told


def tokens_of(scheduler: Any, steps: Sequence[int]) -> dict[str, list[int]]:
    """What each client was sent, by request, in order."""
    sent: dict[str, list[int]] = {name: [] for name in scheduler.requests}
    for token in steps:
        scheduler.schedule()
        for client, message in scheduler.update_from_output(token).items():
            for output in message.outputs:
                assert scheduler.client_of[output.request_id] == client
                sent[output.request_id] += output.new_token_ids
    return sent


def test_tokens_wait_and_none_is_lost(scheduler_class: Any) -> None:
    scheduler = scheduler_class()
    sent = tokens_of(scheduler, range(STEPS))
    held = {
        name: output.new_token_ids
        for waiting in scheduler._batching.release().values()
        for name, output in waiting.items()
    }
    assert any(held.values())
    assert all(sent[name] + held.get(name, []) == list(range(STEPS)) for name in sent)


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (owner, name)
        for owner, names in ENGINE_PROCESS.items()
        for name in names
        if owner[1] not in NOT_OF_MESSAGES and name not in PROVEN
    ],
    ids=lambda value: value if isinstance(value, str) else value[-1],
)
@pytest.mark.parametrize("after", [0, 5])
def test_without_a_name_every_token_goes_once_and_in_order(
    scheduler_class: Any,
    owner: Any,
    name: str,
    after: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """From the first step, or later, when tokens wait."""
    scheduler = scheduler_class()
    sent = tokens_of(scheduler, range(after))
    caplog.clear()
    with hidden(owner, name):
        for request, tokens in tokens_of(scheduler, range(after, STEPS)).items():
            sent[request] += tokens
    assert all(tokens == list(range(STEPS)) for tokens in sent.values())
    [record] = caplog.records
    assert name in record.getMessage()


def test_statistics_go_once_a_second_and_tell_of_all_steps(scheduler_class: Any) -> None:
    scheduler = scheduler_class(log_stats=False)
    scheduler._stats = SparseStats(1.0, clock=lambda: now)
    now = 0.0
    [first] = statistics_of(scheduler, 5)
    assert first.num_running_reqs == REQUESTS
    assert first.spec_decoding_stats.num_draft_tokens == 4
    scheduler._preempt_request()
    now = 1.0
    [second] = statistics_of(scheduler, 5)
    assert second.spec_decoding_stats.num_draft_tokens == 20
    assert second.spec_decoding_stats.num_accepted_tokens == 5
    assert second.prefix_cache_stats.preempted_requests == 1


def test_statistics_that_vllm_keeps_go_with_every_step(scheduler_class: Any) -> None:
    assert len(statistics_of(scheduler_class(log_stats=True), 5)) == 5


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (owner, name)
        for owner, names in STATISTICS.items()
        for name in names
        if owner[1] != "Scheduler"
    ],
    ids=lambda value: value if isinstance(value, str) else value[-1],
)
def test_without_a_name_of_theirs_statistics_end_and_tokens_go_on(
    scheduler_class: Any, owner: Any, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = scheduler_class(log_stats=False)
    scheduler._stats = SparseStats(1.0, clock=itertools.count(step=0.4).__next__)
    caplog.clear()
    with hidden(owner, name):
        sent = tokens_of(scheduler, range(STEPS))
        assert not statistics_of(scheduler, STEPS)
    waiting = scheduler._batching.release()
    held = {k: v.new_token_ids for some in waiting.values() for k, v in some.items()}
    assert all(sent[each][:1] == [0] for each in sent)
    assert held
    [record] = caplog.records
    assert name in record.getMessage()


@pytest.mark.parametrize("name", ["outputs", "new_token_ids", "scheduler_stats"])
def test_messages_of_another_form_are_seen_before_the_engine_starts(
    scheduler_class: Any, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    owners = [owner for owner, names in ENGINE_PROCESS.items() if name in names]
    config = SimpleNamespace(scheduler_config=SimpleNamespace(scheduler_cls=None))
    with hidden(owners[0], name):
        batch_at_source(config)
    assert config.scheduler_config.scheduler_cls is None
    assert name in caplog.text


@pytest.mark.parametrize("missing", ["AsyncScheduler", "EngineCoreOutputs"])
def test_a_scheduler_that_cannot_be_extended_stays_vllms_own(
    missing: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import importlib
    import sys

    module = {
        "AsyncScheduler": "vllm.v1.core.sched.async_scheduler",
        "EngineCoreOutputs": "vllm.v1.engine",
    }[missing]
    monkeypatch.delattr(importlib.import_module(module), missing)
    monkeypatch.delitem(sys.modules, "engines.vllm.fastpath.scheduler", raising=False)
    config = SimpleNamespace(scheduler_config=SimpleNamespace(scheduler_cls=None))
    batch_at_source(config)
    assert config.scheduler_config.scheduler_cls is None
    [record] = caplog.records
    assert "token batching is left out" in record.getMessage()
    assert missing in record.getMessage()
