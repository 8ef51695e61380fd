"""How long a write waits for companions of its commit: as long as there are some to come."""

import asyncio
import heapq
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from server.ledger.gathering import MOST_S, PART, Gathering
from server.ledger.ledger import Ledger
from server.ledger.sqlite import FILE_NAME
from server.ledger.write_ops import Close, Op, Open, Progress
from tests.support.ledger_child import record

COMMIT_S = 0.0005


class Clock:
    now = 50.0

    def __call__(self) -> float:
        return self.now


class Committed:
    """In simulated time: ends of requests, and the commits that a writer would make of them."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.gathering = Gathering(self.clock)
        self.waits: list[float] = []
        """What each end may wait."""
        self.commits: list[float] = []
        """When each was made."""
        self._due_at = 0.0

    def end(self, at: float, lasted_s: float) -> float:
        """When it is on disk."""
        self.clock.now = at
        self.waits.append(wait_s := self.gathering.end_s(lasted_s))
        if at > self._due_at:
            self.commits.append(self._due_at)
            self._due_at = at + wait_s
        self._due_at = min(self._due_at, at + wait_s)
        return self._due_at + COMMIT_S

    def closed_loop(self, callers: int, work_s: float, seconds: float) -> None:
        """So many ask one after another, and one core does `work_s` of work for each request."""
        start = self.clock.now
        asked = [(start, caller) for caller in range(callers)]
        free_at = start
        while asked[0][0] < start + seconds:
            asked_at, caller = heapq.heappop(asked)
            free_at = max(free_at, asked_at) + work_s
            heapq.heappush(asked, (self.end(free_at, free_at - asked_at), caller))
        self.clock.now = free_at

    def steadily(self, rate: int, lasted_s: float, seconds: float) -> None:
        start = self.clock.now
        for number in range(int(rate * seconds)):
            self.end(start + number / rate, lasted_s)


@pytest.fixture
def committed() -> Committed:
    return Committed()


@pytest.mark.parametrize("callers", [1, 4, 8])
@pytest.mark.parametrize("work_s", [0.0005, 0.002, 0.1])
def test_few_who_ask_one_after_another_never_wait(
    committed: Committed, callers: int, work_s: float
) -> None:
    """However many streams are open and still beside them: none of those is counted."""
    committed.closed_loop(callers, work_s, max(3.0, 20 * work_s))
    assert set(committed.waits) == {0.0}


@pytest.mark.parametrize(("callers", "most_a_s"), [(64, 90), (256, 28), (2000, 28)])
def test_many_who_are_busy_share_commits(
    committed: Committed, callers: int, most_a_s: float
) -> None:
    committed.closed_loop(callers, 0.003, 10)
    warm_at = committed.commits[-1] - 4
    assert sum(at > warm_at for at in committed.commits) / 4 < most_a_s
    assert max(committed.waits) <= MOST_S


def test_no_request_waits_longer_than_a_part_of_what_it_took(committed: Committed) -> None:
    for number in range(2000):
        lasted_s = 0.001 * (number % 1500)
        committed.end(50 + number / 1000, lasted_s)
        assert committed.waits[-1] <= PART * lasted_s


def test_a_hundred_a_second_wait_where_they_last(committed: Committed) -> None:
    committed.steadily(100, 0.01, 3)
    assert set(committed.waits) == {0.0}
    committed.steadily(100, 2.0, 3)
    assert committed.waits[-1] == MOST_S


def test_what_waits_for_nobody_comes_at_once(committed: Committed) -> None:
    """Streams of a minute that end three times a second are many, and yet no companions."""
    committed.steadily(3, 60.0, 30)
    assert set(committed.waits[10:]) == {0.0}
    assert committed.gathering.entry_s() == 0.0


def test_of_a_burst_the_first_waits_for_nobody(committed: Committed) -> None:
    start = committed.clock.now
    for number in range(256):
        committed.end(start + 0.002 * (number + 1), 0.002 * (number + 1))
    assert set(committed.waits[:18]) == {0.0}
    assert len(committed.commits) < 128
    assert committed.gathering.entry_s() == MOST_S


def test_after_a_burst_a_lone_caller_waits_for_nobody(committed: Committed) -> None:
    committed.closed_loop(256, 0.002, 2)
    committed.waits.clear()
    committed.closed_loop(1, 0.002, 1)
    assert set(committed.waits) == {0.0}
    assert committed.gathering.entry_s() == 0.0


class Watched:
    """A ledger, and what its writer was given and has committed."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.given: list[Op] = []
        self.commits: list[tuple[int, int]] = []
        """Ends and entries of each."""
        self._submit, self._commit = ledger.writer.submit, ledger.writer.commit
        ledger.writer.submit = self.submit  # type: ignore[method-assign]
        ledger.writer.commit = self.commit  # type: ignore[method-assign]

    def submit(self, op: Op) -> None:
        self.given.append(op)
        self._submit(op)

    def commit(self, closes: list[Close], opens: list[Open]) -> None:
        self.commits.append((len(closes), len(opens)))
        self._commit(closes, opens)

    async def whole(self, name: str) -> None:
        one = replace(record(name), stream=False, duration_s=0.002)
        await self.ledger.begin(one)
        await self.ledger.close_record(one, is_delivered=False)


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    ledger = Ledger.open(tmp_path, node="n")
    await ledger.start()
    yield Watched(ledger)
    await ledger.stop()


@pytest.mark.anyio
async def test_whole_answers_beside_idle_streams_are_one_commit_each(watched: Watched) -> None:
    for number in range(200):
        await watched.ledger.begin(record(f"open-{number}"))
    await watched.ledger.opened(record("open-199"))
    watched.given.clear()
    watched.commits.clear()
    for number in range(30):
        await watched.whole(f"whole-{number}")
    ends = [op for op in watched.given if isinstance(op, Close)]
    assert [op.due_at - op.queued_at for op in ends] == [0.0] * 30
    assert [closes for closes, _ in watched.commits if closes] == [1] * 30


@pytest.mark.anyio
async def test_a_whole_answers_entry_is_written_where_it_lasts(
    watched: Watched, tmp_path: Path
) -> None:
    long, short = (replace(record(name), stream=False) for name in ("long", "short"))
    await watched.ledger.begin(long)
    await watched.ledger.begin(short)
    await watched.ledger.close_record(short)
    assert sum(opens for _, opens in watched.commits) == 0
    await asyncio.wait_for(asyncio.shield(watched.ledger.open_requests["long"].durable), 10)
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as books:
        assert books.execute("SELECT record_id FROM open_requests").fetchall() == [("long",)]
    await watched.ledger.close_record(long)


@pytest.mark.anyio
async def test_an_entry_that_was_put_off_is_there_when_it_is_asked_for(watched: Watched) -> None:
    one = replace(record("one"), stream=False)
    await watched.ledger.begin(one)
    await asyncio.wait_for(watched.ledger.opened(one), 10)
    assert watched.commits == [(0, 1)]
    await watched.ledger.close_record(one)


@pytest.mark.anyio
async def test_a_stream_that_begins_has_no_others_entry_written(watched: Watched) -> None:
    whole, stream = replace(record("whole"), stream=False), record("stream")
    await watched.ledger.begin(whole)
    await watched.ledger.begin(stream)
    await watched.ledger.opened(stream)
    assert [op.record_id for op in watched.given if isinstance(op, Open)] == ["stream"]
    for each in (whole, stream):
        await watched.ledger.close_record(each)


@pytest.mark.anyio
async def test_progress_is_written_once_for_several_steps_of_the_loop(watched: Watched) -> None:
    open_now = [record(f"open-{number}") for number in range(5)]
    for each in open_now:
        await watched.ledger.begin(each)
    for each in open_now:
        watched.ledger.progress(each)
        await asyncio.sleep(0)
    noted = asyncio.Event()
    asyncio.get_running_loop().call_later(2 * MOST_S, noted.set)
    await noted.wait()
    assert sum(isinstance(op, Progress) for op in watched.given) == 2, "the first, and the rest"
    for each in open_now:
        await watched.ledger.close_record(each)


@pytest.mark.anyio
async def test_who_hurries_behind_a_question_is_written_at_once(watched: Watched) -> None:
    """Within the hour that it may wait."""
    writer, free = watched.ledger.writer, threading.Event()
    busy = writer.call(lambda _: free.wait(10))
    asked = writer.call(lambda _: None)
    durable = asyncio.get_running_loop().create_future()
    writer.submit(Close(record("slow"), durable, due_at=time.monotonic() + 3600))
    writer.hurry()
    free.set()
    await asyncio.wait_for(durable, 10)
    assert busy.result(1)
    assert asked.done()


@pytest.mark.anyio
async def test_what_is_due_earlier_takes_along_what_may_wait(watched: Watched) -> None:
    """Within the first's wait, which nothing else ends: it is an hour."""
    slow, quick = asyncio.Event(), record("quick")
    hour = time.monotonic() + 3600
    durable = asyncio.get_running_loop().create_future()
    durable.add_done_callback(lambda _: slow.set())
    watched.ledger.writer.submit(Close(record("slow"), durable, due_at=hour))
    await watched.ledger.close_record(quick)
    await asyncio.wait_for(slow.wait(), 10)
    assert watched.commits == [(2, 0)]


@pytest.mark.anyio
async def test_a_stop_waits_for_no_companions(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path, node="n")
    await ledger.start()
    durable = asyncio.get_running_loop().create_future()
    hour = time.monotonic() + 3600
    ledger.writer.submit(Close(record("slow"), durable, due_at=hour))
    await asyncio.wait_for(ledger.stop(), 10)
    await asyncio.wait_for(durable, 10)


@pytest.mark.anyio
async def test_what_is_open_at_the_stop_is_closed_at_the_next_start(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path, node="n")
    await ledger.start()
    await ledger.begin(replace(record("one"), stream=False))
    await ledger.stop()
    again = Ledger.open(tmp_path, node="n")
    assert again.lost_count == 1
    await again.stop()
