"""Tokens that wait for each other in a busy engine: which, for how long, and that none is lost."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from engines.vllm.fastpath.token_batching import DELAY_S, FEW_STREAMS, TokenBatching

MANY = FEW_STREAMS + 1
STEP_S = 0.01


@dataclass
class Output:
    """As much of vLLM's EngineCoreOutput as is looked at."""

    request_id: str
    new_token_ids: list[int]
    finish_reason: str | None = None
    new_logprobs: object = None
    events: object = None
    new_sampling_mask: object = None
    routed_experts: object = None


@dataclass
class Wanted:
    """... of its SamplingParams, ..."""

    stop: list[str] = field(default_factory=list)
    logprobs: int | None = None


@dataclass
class Request:
    """... and of its Request."""

    sampling_params: Wanted | None = field(default_factory=Wanted)
    num_output_tokens: int = 0
    client: int = 0


class Engine:
    """Steps all requests, one token each, on a clock of its own."""

    def __init__(
        self, requests: int = MANY, wanted: Wanted | None = None, beside: str | None = None
    ) -> None:
        self.beside = beside
        self.now = 100.0
        self.batching_scheduler = TokenBatching(clock=lambda: self.now)
        self.requests = {f"r{i}": Request(wanted or Wanted()) for i in range(requests)}
        self.sent: dict[str, list[list[int]]] = {name: [] for name in self.requests}
        self.last: dict[int, list[Output]] = {}

    def step(
        self, names: Any = None, *, ends: str = "", step_s: float = STEP_S, tokens: int = 0
    ) -> None:
        chosen = list(self.requests) if names is None else names
        self.batching_scheduler.begins(tokens or len(chosen))
        self.now += step_s
        outputs: dict[int, list[Output]] = {}
        for name in chosen:
            request = self.requests[name]
            request.num_output_tokens += 1
            made = Output(name, [request.num_output_tokens], "length" if name == ends else None)
            if self.beside is not None:
                setattr(made, self.beside, object())
            outputs.setdefault(request.client, []).append(made)
        if ends:
            del self.requests[ends]
        self.last = self.batching_scheduler.due(outputs, self.requests)
        for due in self.last.values():
            for output in due:
                self.sent[output.request_id].append(output.new_token_ids)

    def steps(self, count: int) -> None:
        for _ in range(count):
            self.step()

    def steps_until_something_waits(self) -> int:
        """Returns how many tokens each request has made by then."""
        for number in range(1, 100):
            self.step()
            if not any(self.last.values()):
                return number
        raise AssertionError("nothing ever waited")

    def tokens(self, name: str = "r0") -> int:
        return sum(len(ids) for ids in self.sent[name])


def test_a_first_token_never_waits() -> None:
    engine = Engine()
    engine.steps(1)
    assert all(sent == [[1]] for sent in engine.sent.values())
    engine.steps_until_something_waits()
    engine.requests["new"], engine.sent["new"] = Request(), []
    engine.step(["new"])
    assert engine.sent["new"] == [[1]]


def test_few_requests_get_every_token_at_once() -> None:
    engine = Engine(FEW_STREAMS)
    engine.steps(20)
    assert all(sent == [[i + 1] for i in range(20)] for sent in engine.sent.values())


def test_many_get_several_tokens_at_once_in_order_and_none_waits_too_long() -> None:
    engine = Engine()
    engine.steps(20)
    made_at: dict[int, float] = {}
    for number in range(21, 80):
        before = engine.tokens()
        engine.step()
        made_at[number] = engine.now
        for token in range(before + 1, engine.tokens() + 1):
            assert engine.now - made_at.get(token, engine.now) <= DELAY_S
    assert {len(ids) for ids in engine.sent["r0"][-5:]} == {1 + int(DELAY_S / STEP_S)}
    assert [i for ids in engine.sent["r0"] for i in ids] == list(range(1, engine.tokens() + 1))


def test_a_last_token_takes_along_what_waited_and_nothing_comes_twice() -> None:
    engine = Engine()
    made = engine.steps_until_something_waits()
    engine.step(ends="r0")
    assert engine.tokens() == made + 1
    engine.steps(30)
    assert engine.tokens() == made + 1


def test_what_waits_of_an_aborted_request_is_forgotten() -> None:
    engine = Engine()
    made = engine.steps_until_something_waits()
    before = engine.tokens()
    del engine.requests["r0"]
    engine.steps(30)
    assert engine.tokens() == before < made
    assert engine.tokens("r1") > made


def test_a_request_that_pauses_is_sent_what_it_made() -> None:
    engine = Engine()
    made = engine.steps_until_something_waits()
    for _ in range(10):
        engine.step([name for name in engine.requests if name != "r0"])
    assert engine.tokens() == made


def test_slow_steps_are_never_waited_for() -> None:
    engine = Engine()
    for _ in range(40):
        engine.step(step_s=0.2)
    assert all(engine.tokens(name) == 40 for name in engine.requests)


def test_nothing_waits_for_a_step_over_a_long_prompt() -> None:
    engine = Engine()
    made = engine.steps_until_something_waits()
    engine.batching_scheduler.begins(MANY)
    engine.batching_scheduler.begins(100 * MANY)  # planned while the one before it runs
    engine.now += STEP_S
    due = engine.batching_scheduler.due({}, engine.requests)
    assert [output.new_token_ids[-1] for output in due[0]] == [made] * MANY


@pytest.mark.parametrize("wanted", [Wanted(stop=["."]), Wanted(logprobs=0)])
def test_stop_strings_and_log_probabilities_are_looked_at_with_each_token(wanted: Wanted) -> None:
    engine = Engine(wanted=wanted)
    engine.steps(30)
    assert engine.sent["r0"] == [[i + 1] for i in range(30)]


@pytest.mark.parametrize("name", ["new_sampling_mask", "routed_experts"])
def test_what_comes_beside_a_token_goes_with_it(name: str) -> None:
    engine = Engine(beside=name)
    engine.steps(30)
    assert engine.sent["r0"] == [[i + 1] for i in range(30)]


def test_each_client_gets_its_own() -> None:
    engine = Engine(2 * MANY)
    for name in list(engine.requests)[MANY:]:
        engine.requests[name].client = 1
    engine.steps(60)
    while not any(engine.last.values()):
        engine.step()
    for client, due in engine.last.items():
        assert {engine.requests[output.request_id].client for output in due} == {client}
    assert {len(due) for due in engine.last.values()} == {MANY}


def test_an_hour_without_work_is_no_step() -> None:
    engine = Engine()
    engine.steps(20)
    engine.now += 3600
    engine.steps(30)
    assert {len(ids) for ids in engine.sent["r0"][-3:]} == {1 + int(DELAY_S / STEP_S)}
