"""Blocking work beside the loop: results, failures, a close while calls run and wait."""

import asyncio
import threading
import time

import pytest

from engines.base import EngineDead
from engines.host.worker_threads import WorkerThreads

pytestmark = pytest.mark.anyio
BOUND_S = 5.0


async def test_a_result_and_a_failure_reach_their_caller() -> None:
    aside = WorkerThreads(2, "test")
    assert await aside(lambda a, b: a + b, 1, b=2) == 3
    with pytest.raises(ZeroDivisionError):
        await aside(lambda: 1 / 0)
    assert await aside(lambda: threading.current_thread().name) in ("test-0", "test-1")
    aside.close()


async def test_the_loop_goes_on_and_as_many_run_at_once_as_there_are_threads() -> None:
    aside = WorkerThreads(2, "test")
    together = threading.Barrier(3)
    calls = [asyncio.ensure_future(aside(together.wait, BOUND_S)) for _ in range(2)]
    await asyncio.wait_for(asyncio.to_thread(together.wait, BOUND_S), BOUND_S)
    assert sorted(await asyncio.gather(*calls))[0] >= 0
    aside.close()


async def test_a_close_waits_for_what_runs_and_what_waits_hears_that_the_engine_was_stopped() -> (
    None
):
    aside = WorkerThreads(1, "test")
    may_end, has_begun = threading.Event(), threading.Event()

    def work() -> str:
        has_begun.set()
        may_end.wait(BOUND_S)
        return "done"

    running = asyncio.ensure_future(aside(work))
    await asyncio.to_thread(has_begun.wait, BOUND_S)
    waiting = asyncio.ensure_future(aside(time.sleep, 0))
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(asyncio.to_thread(aside.close))
    with pytest.raises(EngineDead, match="stopped"):
        await asyncio.wait_for(waiting, BOUND_S)
    assert not closing.done()
    may_end.set()
    assert await asyncio.wait_for(running, BOUND_S) == "done"
    await asyncio.wait_for(closing, BOUND_S)
    with pytest.raises(EngineDead, match="stopped"):
        await asyncio.wait_for(aside(work), BOUND_S)
    aside.close()


async def test_a_caller_that_gave_up_costs_no_work() -> None:
    aside = WorkerThreads(1, "test")
    may_end = threading.Event()
    calls: list[int] = []
    running = asyncio.ensure_future(aside(may_end.wait, BOUND_S))
    given_up = asyncio.ensure_future(aside(calls.append, 1))
    await asyncio.sleep(0)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    may_end.set()
    assert await running
    await aside(calls.append, 2)
    assert calls == [2]
    aside.close()
