"""The rule of a slice's size, on a clock of its own."""

import pytest

from engines.vllm.fastpath.slice_pace import (
    A_PROMPT,
    FIRST_TOKENS,
    FRESH_S,
    LEAST_TOKENS,
    SlicePace,
)

BASE_S = 0.008
MOST = 2048


class Machine:
    """Steps that take `BASE_S` and so much a prompt's token."""

    def __init__(self, token_s: float, limit_s: float = 0.020, base_s: float = BASE_S) -> None:
        self.now, self.token_s, self.base_s = 100.0, token_s, base_s
        self.pace = SlicePace(limit_s, MOST, clock=lambda: self.now)

    def step(self, prompt_tokens: int) -> float:
        """How long it took."""
        self.pace.begins(64 + prompt_tokens, prompt_tokens)
        took_s = self.base_s + self.token_s * prompt_tokens
        self.now += took_s
        self.pace.ended()
        return took_s

    def read(self, steps: int) -> list[float]:
        return [self.step(self.pace.tokens) for _ in range(steps)]


@pytest.mark.parametrize("token_s", [1e-5, 3e-5, 2e-4, 5e-4])
def test_steps_with_prompts_take_what_they_should(token_s: float) -> None:
    machine = Machine(token_s)
    for _ in range(20):
        machine.step(0)
    assert machine.read(20)[-1] == pytest.approx(0.020, rel=0.1)


def test_a_prompt_that_becomes_slower_to_read_is_cut_smaller() -> None:
    """Attention reads all that stands before."""
    machine, took = Machine(2e-5), []
    machine.step(0)
    machine.read(20)
    for _ in range(150):
        machine.token_s *= 1.02
        took += machine.read(1)
    assert max(took) < 1.1 * 0.020


def test_a_large_models_prompts_do_not_stand_still() -> None:
    machine = Machine(1e-3, base_s=0.1)
    machine.step(0)
    machine.read(30)
    assert machine.pace.tokens == pytest.approx(A_PROMPT * 0.1 / 1e-3, rel=0.1)


def test_the_more_long_prompts_wait_the_more_of_a_step_is_theirs() -> None:
    machine = Machine(1e-5)
    machine.step(0)
    for waiting in (1, 8, 40, 1):
        machine.pace.waiting = waiting
        took_s = machine.read(20)[-1]
        assert took_s == pytest.approx(max(0.020, BASE_S * (1 + A_PROMPT * waiting)), rel=0.1) or (
            machine.pace.tokens == MOST
        )
    assert took_s == pytest.approx(0.020, rel=0.1)


def test_what_a_step_without_prompts_takes_is_seen_again_after_a_while() -> None:
    machine = Machine(1e-5)
    assert machine.pace.is_due()
    assert not machine.pace.is_due(), "one is asked for, not all until it has ended"
    machine.step(0)
    while machine.now < 100.0 + FRESH_S:
        assert not machine.pace.is_due()
        machine.read(1)
    machine.now += FRESH_S
    assert machine.pace.is_due()


@pytest.mark.parametrize(("token_s", "tokens"), [(1.0, LEAST_TOKENS), (1e-9, MOST)])
def test_it_stays_between_its_bounds(token_s: float, tokens: int) -> None:
    machine = Machine(token_s)
    assert machine.pace.tokens == FIRST_TOKENS
    machine.read(50)
    assert machine.pace.tokens == tokens


def test_a_step_that_the_machine_held_up_halves_it_at_most() -> None:
    machine = Machine(2e-5)
    machine.step(0)
    machine.read(20)
    before = machine.pace.tokens
    machine.base_s = 5.0
    machine.step(before)
    assert machine.pace.tokens >= before // 2


@pytest.mark.parametrize("held_up_s", [0.2, 2.0, 40.0])
def test_one_step_of_streams_that_was_held_up_is_no_new_pace(held_up_s: float) -> None:
    machine = Machine(1e-4)
    for _ in range(20):
        machine.step(0)
    machine.read(20)
    machine.base_s = held_up_s
    machine.step(0)
    machine.base_s = BASE_S
    assert max(machine.read(20)) < 0.030


def test_a_prompts_last_piece_says_nothing() -> None:
    machine = Machine(2e-5)
    machine.step(0)
    machine.read(20)
    before = machine.pace.tokens
    machine.step(1)
    assert machine.pace.tokens == before


def test_a_step_that_is_planned_while_another_runs_counts_from_that_ones_end() -> None:
    """As vLLM plans on a GPU."""
    machine = Machine(0.0)
    machine.step(0)
    machine.pace.begins(64 + FIRST_TOKENS, FIRST_TOKENS)
    machine.pace.begins(64 + FIRST_TOKENS, FIRST_TOKENS)
    sizes = []
    for _ in range(2):
        machine.now += 0.020
        machine.pace.ended()
        sizes.append(machine.pace.tokens)
    assert sizes == [FIRST_TOKENS, FIRST_TOKENS]
