"""How long vLLM's engine may be silent: decided from what its steps cost, no engine needed."""

import asyncio
import inspect

import pytest

from engines.fleet.fleet import Fleet
from engines.vllm.silence import SILENCE_S, Pace, Work, is_answered, patience_s

pytestmark = pytest.mark.anyio

LIMIT_S = 30.0


def work(**facts: float | None) -> Work:
    known: dict[str, float | None] = {
        "running": 1, "unread_tokens": 0, "step_tokens": 2048, "s_per_token": 0.001,
        "answer_s": 0.01,
    }  # fmt: skip
    return Work(**(known | facts))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("at", "seconds"),
    [
        (work(running=0), LIMIT_S),
        (work(s_per_token=None), LIMIT_S),
        (work(), SILENCE_S),
        (work(unread_tokens=2000), SILENCE_S),
        (work(unread_tokens=2000, s_per_token=0.004), 24.0),
        (work(unread_tokens=50_000, s_per_token=0.004), 3 * 2048 * 0.004),
        (work(unread_tokens=2000, s_per_token=0.1), LIMIT_S),
        (work(answer_s=4.0), 12.0),
    ],
    ids=["idle", "nothing seen", "tokens alone", "a GPU's prompt", "a CPU's prompt",
         "no more than a step", "never above the limit", "slow answers before"],
)  # fmt: skip
def test_silence_is_as_long_as_the_step_at_hand_can_take(at: Work, seconds: float) -> None:
    assert patience_s(at, LIMIT_S) == pytest.approx(seconds)


def test_a_frozen_engine_is_found_within_ten_seconds() -> None:
    interval_s = inspect.signature(Fleet).parameters["check_interval_s"].default
    assert patience_s(work(), LIMIT_S) + interval_s < 10


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_pace_is_that_of_prompts_which_waited_behind_no_other() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.submitted("a", 100)
    pace.submitted("b", 10)
    assert pace.work(2048).unread_tokens == 110
    clock.now = 2.0
    pace.has_token("a", cached_tokens=60)
    pace.has_token("b", cached_tokens=0)
    clock.now = 50.0
    pace.has_token("a", cached_tokens=0)
    seen = pace.work(2048)
    assert (seen.running, seen.unread_tokens, seen.s_per_token) == (2, 0, 2.0 / 40)
    pace.ended("a")
    pace.ended("b")
    assert pace.work(2048).running == 0


def test_a_request_that_ends_unread_is_no_work_and_no_measure() -> None:
    pace = Pace(Clock())
    pace.submitted("a", 100)
    pace.ended("a")
    assert (pace.work(9).unread_tokens, pace.work(9).s_per_token) == (0, None)


async def never() -> None:
    await asyncio.Event().wait()


async def test_silence_without_tokens_ends_the_wait_and_tokens_go_on_with_it() -> None:
    asked = asyncio.ensure_future(never())
    tokens = iter(range(1000))
    assert not await is_answered(asked, lambda: 7, patience_s=0.5, timeout_s=60.0)
    began = asyncio.get_running_loop().time()
    assert not await is_answered(asked, lambda: next(tokens), patience_s=0.3, timeout_s=1.0)
    assert asyncio.get_running_loop().time() - began >= 0.9
    asked.cancel()


async def test_an_answer_is_heard_at_once() -> None:
    asked = asyncio.ensure_future(asyncio.sleep(0))
    assert await is_answered(asked, lambda: 0, patience_s=5.0, timeout_s=5.0)
