"""Very many running answers are looked at in steps, so that the loop does other things between."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from server.requests.supervisor import AT_ONCE, Supervisor

pytestmark = pytest.mark.anyio


class Looked:
    alias, owner, sequences = "m", "o", 1

    def __init__(self, looked: Callable[[], None]) -> None:
        self._looked = looked

    def tick(self, now: float) -> None:
        self._looked()

    def cut(self, why: str) -> None: ...

    def live(self) -> Any:
        return SimpleNamespace(tokens=0)


async def looked_at(supervisor: Supervisor, done: asyncio.Event) -> None:
    await supervisor.start()
    await asyncio.wait_for(done.wait(), 10)
    await supervisor.stop()


async def test_between_steps_the_loop_does_other_things() -> None:
    supervisor, turn, looked = Supervisor(0.001), 0, list[int]()
    done = asyncio.Event()

    def look() -> None:
        looked.append(turn)
        if len(looked) == 3 * AT_ONCE:
            done.set()

    async def other() -> None:
        nonlocal turn
        while not done.is_set():
            turn += 1
            await asyncio.sleep(0)

    for _ in range(3 * AT_ONCE):
        supervisor.add(cast(Any, Looked(look)))
    beside = asyncio.ensure_future(other())
    await looked_at(supervisor, done)
    await beside
    counts = [looked.count(each) for each in set(looked)]
    assert len(counts) > 2
    assert max(counts) <= AT_ONCE


async def test_an_answer_that_is_over_meanwhile_is_not_looked_at() -> None:
    supervisor, looked, done = Supervisor(0.001), list[int](), asyncio.Event()

    def look() -> None:
        looked.append(1)
        done.set()
        for answer in tuple(supervisor._answers):
            supervisor.remove(answer)

    for _ in range(10):
        supervisor.add(cast(Any, Looked(look)))
    await looked_at(supervisor, done)
    assert looked == [1]
