"""Forms in the engine's process: their threads give way, and costly tokens end a request."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from engines.vllm.fastpath import form_guard
from engines.vllm.fastpath.form_guard import MOST_COSTLY_STEPS, NICE, GuardedGrammar, guard_forms


class Grammar:
    """vLLM's, with steps that take as long as `costs` says, in its own clock."""

    def __init__(self, costs: list[float], clock: list[float]) -> None:
        self._costs, self._clock = costs, clock
        self.accepted: list[int] = []

    def fill_bitmask(self, bitmask: Any, index: int) -> None:
        self._clock[0] += self._costs.pop(0)

    def accept_tokens(self, request_id: str, tokens: list[int]) -> bool:
        self.accepted += tokens
        return True

    def is_terminated(self) -> bool:
        return False


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(form_guard, "time", SimpleNamespace(thread_time=lambda: now[0]))
    return now


def taken(costs: list[float], clock: list[float]) -> list[bool]:
    """Whether each step's token was taken."""
    grammar = Grammar(list(costs), clock)
    guarded = GuardedGrammar(grammar)
    said = []
    for token in range(len(costs)):
        guarded.fill_bitmask(None, 0)
        said.append(guarded.accept_tokens("r", [token]))
    assert grammar.accepted == list(range(sum(said)))
    assert guarded.is_terminated() is False  # what is not guarded is vLLM's own
    return said


def test_quick_steps_are_never_counted(clock: list[float]) -> None:
    assert all(taken([form_guard.MOST_STEP_S * 0.99] * 50, clock))


def test_a_request_ends_when_its_steps_cost_too_much_too_often(clock: list[float]) -> None:
    slow = form_guard.MOST_STEP_S * 1.01
    assert taken([slow, 0.0, slow, 0.0, slow, 0.0], clock) == [True] * 4 + [False] * 2
    assert all(taken([slow] * MOST_COSTLY_STEPS + [0.0] * 9, clock))


def manager() -> Any:
    made = SimpleNamespace(executor=ThreadPoolExecutor(2))
    made._create_grammar = lambda request: (request, Grammar([], []))[1]
    return made


def test_forms_are_made_by_threads_that_give_way() -> None:
    forms = manager()
    guard_forms(forms)
    with forms.executor as executor:
        nice = executor.submit(lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        assert nice.result(10) == NICE
        grammar = executor.submit(forms._create_grammar, "r").result(10)
        assert type(grammar) is GuardedGrammar
        assert isinstance(grammar, Grammar)  # vLLM 0.26 asserts that it is one of its own


@pytest.mark.parametrize("name", ["executor", "_create_grammar"])
def test_a_manager_that_is_not_as_known_is_left_as_it_is(name: str) -> None:
    forms = manager()
    whole = dict(vars(forms))
    with whole["executor"]:
        delattr(forms, name)
        before = dict(vars(forms))
        with pytest.raises(AttributeError, match=name):
            guard_forms(forms)
        assert vars(forms) == before
