"""Who follows a background response: every event once and in order, out of the log or the store."""

import asyncio
import random
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.api.responses.event_log import EventLog
from server.memory.response_rows import PART_BYTES, PARTS_AT_ONCE, EventPart, from_number
from tests.support.memories import kept, memory_at
from tests.support.responses import events
from tests.support.serving import Served, scripted, serving, wait_until

URL = "/v1/responses"
LONG = scripted("long", text="word " * 4000, token_delay_s=0.001)


def event(number: int, size: int = 0) -> bytes:
    return b"event: %d\ndata: %b\n\n" % (number, b"x" * size)


class Kept:
    """Where a log's events go: some at a time come back."""

    def __init__(self, log: EventLog) -> None:
        self.log, self.events = log, b""
        self.reads = 0

    def keep(self) -> None:
        new = self.log.unkept()
        self.events += new
        self.log.drop(new)

    async def earlier(self, number: int) -> bytes:
        self.reads += 1
        await asyncio.sleep(0)
        left = from_number(self.events, number)
        return left[: len(left) - len(from_number(left, 5))]


@pytest.mark.anyio
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("size", [10, 90_000], ids=["small", "packed"])
async def test_each_event_comes_once_and_in_order(seed: int, size: int) -> None:
    drawn, log = random.Random(seed), EventLog()
    kept = Kept(log)
    total = 200 if size < 1000 else 40

    async def followed(first: int) -> bytes:
        said, slow = b"", drawn.random() < 0.5
        async for piece in log.follow(first, 0.001, kept.earlier):
            said += piece
            for _ in range(drawn.randrange(12) if slow else 0):
                await asyncio.sleep(0)
        return said

    starts = [0, 1, 7, total - 1, total, total + 5]
    tasks = [asyncio.ensure_future(followed(first)) for first in starts]
    for number in range(total):
        log.add(event(number, drawn.randrange(size)))
        if drawn.random() < 0.2:
            kept.keep()
        await asyncio.sleep(0)
        if drawn.random() < 0.1:
            starts.append(drawn.randrange(number + 2))
            tasks.append(asyncio.ensure_future(followed(starts[-1])))
    log.end()
    whole = kept.events + log.unkept()
    for first, told in zip(starts, await asyncio.gather(*tasks), strict=True):
        assert told == from_number(whole, first)


@pytest.mark.anyio
async def test_what_is_kept_is_held_no_more_and_read_from_there() -> None:
    log = EventLog()
    kept = Kept(log)
    for number in range(1000):
        log.add(event(number, 1000))
    kept.keep()
    assert (log.unkept(), log.first_number, log.next_number) == (b"", 1000, 1000)
    log.add(event(1000))
    log.end()
    said = b"".join([piece async for piece in log.follow(0, 1.0, kept.earlier)])
    assert said == kept.events + event(1000)
    assert kept.reads == 200  # five at a time


@pytest.mark.anyio
async def test_what_was_deleted_ends_the_stream() -> None:
    log = EventLog()
    kept = Kept(log)
    log.add(event(0))
    kept.keep()
    kept.events = b""
    assert [piece async for piece in log.follow(0, 1.0, kept.earlier)] == []


@pytest.mark.anyio
async def test_silence_is_told() -> None:
    log = EventLog()
    following = log.follow(0, 0.01, Kept(log).earlier)
    assert await anext(following) == b""
    log.add(event(0))
    assert await anext(following) == event(0)


def test_the_store_gives_a_few_parts_at_once(tmp_path: Path) -> None:
    memory, count = memory_at(tmp_path), 3 * PARTS_AT_ONCE
    parts = [
        EventPart(part=i, first_number=2 * i, events=event(2 * i, PART_BYTES) + event(2 * i + 1))
        for i in range(count)
    ]
    memory.keep(kept("resp_a"), parts, (), ())
    number, reads = 0, 0
    while told := memory.responses.events_from("resp_a", "acme", number):
        assert len(told) <= PARTS_AT_ONCE * (PART_BYTES + 100)
        assert told.startswith(event(number)[:12])
        number, reads = number + told.count(b"\n\n"), reads + 1
    assert (number, reads) == (2 * count, 3)
    assert memory.responses.events_from("resp_a", "acme", 5).startswith(event(5))
    memory.vault.database.close()


def test_followers_of_a_long_one_hold_none_of_it(tmp_path: Path) -> None:
    """One that takes all, one that takes nothing for a while, one that comes late."""
    held: list[int] = []
    with (
        serving(tmp_path, LONG, settings={"concurrent": 4}) as served,
        httpx.Client(base_url=served.url, headers=served.headers, timeout=60) as client,
    ):
        body = {"model": "long", "input": "x", "background": True, "max_output_tokens": 3500}
        response: dict[str, Any] = client.post(URL, json=body).json()
        url, query = f"{URL}/{response['id']}", {"stream": "true"}
        told: dict[str, bytes] = {}

        def followed(name: str) -> None:
            told[name] = client.get(url, params=query).content

        first = threading.Thread(target=followed, args=("first",))
        first.start()
        wait_until(lambda: _running(served), "it runs")
        log = served.services.background.find(response["id"]).answer.log  # type: ignore[union-attr]
        with client.stream("GET", url, params=query) as slow:
            pieces = slow.iter_raw()
            said = next(pieces)
            while not log.is_over:
                held.append(log.next_number - log.first_number)
                first.join(0.05)
            said += b"".join(pieces)
        first.join()
        followed("after")
    assert told["first"] == told["after"] == said
    assert events(httpx.Response(200, content=said, headers=_STREAM))[-1]["sequence_number"] > 3500
    assert 0 < max(held) < 2600  # what came within a second or two, of 3500


_STREAM = {"content-type": "text/event-stream"}


def _running(served: Served) -> bool:
    return served.services.background.counts() == (1, 0)
