"""What a node says to a front is gathered: a write wakes both servers."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from server.api.peer.channel import GATHER_S, NodeChannel


class _Handle:
    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at, self.call, self.is_cancelled = at, call, False

    def cancel(self) -> None:
        self.is_cancelled = True


class _Loop:
    """Whose time goes on when it is told."""

    def __init__(self) -> None:
        self.now = 100.0
        self._handles: list[_Handle] = []

    def time(self) -> float:
        return self.now

    def call_soon(self, call: Callable[[], None]) -> _Handle:
        return self.call_at(self.now, call)

    def call_at(self, at: float, call: Callable[[], None]) -> _Handle:
        self._handles.append(_Handle(at, call))
        return self._handles[-1]

    def pass_time(self, seconds: float = 0.0) -> None:
        self.now += seconds
        due = [each for each in self._handles if each.at <= self.now and not each.is_cancelled]
        self._handles = [each for each in self._handles if each.at > self.now]
        for each in due:
            each.call()


class _Exchange:
    """That keeps what is written."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.direct = self

    def is_ready(self) -> bool:
        return True

    def write(self, chunk: bytes) -> None:
        self.writes.append(chunk)


@pytest.fixture
def channel() -> NodeChannel:
    async def made() -> NodeChannel:
        exchange: Any = _Exchange()
        return NodeChannel(exchange)

    channel = asyncio.run(made())
    channel._loop = _Loop()  # type: ignore[assignment]
    channel.write(b"before")
    _pass_time(channel)
    _writes(channel).clear()
    return channel


def _pass_time(channel: NodeChannel, seconds: float = 0.0) -> None:
    loop: Any = channel._loop
    loop.pass_time(seconds)


def _writes(channel: NodeChannel) -> list[bytes]:
    exchange: Any = channel._exchange
    writes: list[bytes] = exchange.writes
    return writes


def test_what_is_urgent_goes_at_once_with_all_that_waits(channel: NodeChannel) -> None:
    channel.write(b"a", is_urgent=False)
    channel.write(b"b")
    channel.write(b"c", is_urgent=False)
    _pass_time(channel)
    assert _writes(channel) == [b"abc"]
    _pass_time(channel, 1.0)
    assert _writes(channel) == [b"abc"]


def test_what_is_not_urgent_waits_until_its_time_after_the_write_before(
    channel: NodeChannel,
) -> None:
    for each in (b"a", b"b", b"c"):
        channel.write(each, is_urgent=False)
        _pass_time(channel, GATHER_S / 4)
    assert _writes(channel) == []
    _pass_time(channel, GATHER_S / 4)
    assert _writes(channel) == [b"abc"]


@pytest.mark.parametrize("is_urgent", [True, False])
def test_what_comes_long_after_a_write_goes_at_once(channel: NodeChannel, is_urgent: bool) -> None:
    _pass_time(channel, 2 * GATHER_S)
    channel.write(b"a", is_urgent=is_urgent)
    _pass_time(channel)
    assert _writes(channel) == [b"a"]


def test_a_busy_channel_writes_no_more_often_than_that(channel: NodeChannel) -> None:
    for _ in range(1000):
        channel.write(b"x", is_urgent=False)
        _pass_time(channel, GATHER_S / 10)
    assert sum(map(len, _writes(channel))) >= 990
    assert len(_writes(channel)) <= 101
