"""Short turns at the interpreter last as long as somebody's long work, and no longer."""

import asyncio
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from engines.host.interpreter_turns import (
    SHORT_S,
    STEP_S,
    TURNS,
    beside,
    give_way,
    in_short_turns,
)
from engines.host.worker_threads import WorkerThreads


@pytest.fixture(autouse=True)
def usual() -> Iterator[float]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.005)
    yield 0.005
    sys.setswitchinterval(before)


def now_s() -> float:
    return round(sys.getswitchinterval(), 6)


def test_side_by_side_the_last_one_puts_back_what_was(usual: float) -> None:
    first, second = TURNS.short(), TURNS.short()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert now_s() == SHORT_S
    second.__exit__(None, None, None)
    assert now_s() == usual


def test_shorter_ones_stay_as_they_are() -> None:
    sys.setswitchinterval(0.0005)
    with TURNS.short():
        assert now_s() == 0.0005


def test_an_error_ends_them_too(usual: float) -> None:
    async def fails() -> None:
        await in_short_turns(int, "x")

    with pytest.raises(ValueError, match="invalid literal"):
        asyncio.run(fails())
    assert now_s() == usual


@pytest.mark.parametrize("is_long", [False, True])
def test_worker_threads_take_them_while_they_compute(usual: float, is_long: bool) -> None:
    async def during() -> float:
        threads = WorkerThreads(1, "test", in_short_turns=is_long)
        try:
            return await threads(now_s)
        finally:
            threads.close()

    assert asyncio.run(during()) == (SHORT_S if is_long else usual)
    assert now_s() == usual


def test_many_at_once_leave_nothing_behind(usual: float) -> None:
    def often() -> None:
        for _ in range(2000):
            with TURNS.short():
                pass

    threads = [threading.Thread(target=often) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert now_s() == usual


def test_who_gives_way_lets_the_loop_do_what_was_ready_and_what_came_of_it() -> None:
    async def seen() -> list[str]:
        loop = asyncio.get_running_loop()
        done: list[str] = []

        def ready() -> None:
            done.append("ready")
            loop.call_soon(done.append, "came of it")

        def work() -> list[str]:
            loop.call_soon_threadsafe(ready)
            give_way(at_once=True)
            return list(done)

        return await in_short_turns(work)

    assert asyncio.run(seen()) == ["ready", "came of it"]


def test_a_worker_thread_gives_way_between_two_calls() -> None:
    async def rounds() -> list[int]:
        threads = WorkerThreads(1, "test", in_short_turns=True)
        loop = asyncio.get_running_loop()
        count = 0

        def counted() -> None:
            nonlocal count
            count += 1
            loop.call_soon(counted)

        def work() -> int:
            compute()
            return count

        counted()
        try:
            return await asyncio.gather(*[threads(work) for _ in range(5)])
        finally:
            threads.close()

    seen = asyncio.run(rounds())
    assert all(later - earlier >= 2 for earlier, later in pairwise(seen))


def compute() -> None:
    """For so long that the loop's turn is due."""
    end_s = time.thread_time() + STEP_S
    while time.thread_time() < end_s:
        pass


class Asked(asyncio.SelectorEventLoop):
    """It never runs, and counts who waits for it."""

    times = 0

    def call_soon_threadsafe(self, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        self.times += 1
        return super().call_soon_threadsafe(*args, **kwargs)


@pytest.fixture
def asked() -> Iterator[Asked]:
    loop = Asked()
    yield loop
    loop.close()


def test_short_work_waits_for_nobody_and_long_work_not_for_ever(asked: Asked) -> None:
    give_way(at_once=True)  # beside no loop
    with beside(asked):
        give_way(at_once=True)
        give_way()
        assert asked.times == 1
        compute()
        give_way()
        give_way()
        assert asked.times == 2
    give_way(at_once=True)
    assert asked.times == 2


def test_a_loop_that_is_closed_keeps_nobody(asked: Asked) -> None:
    asked.close()
    with beside(asked):
        give_way(at_once=True)
