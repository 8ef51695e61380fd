"""A front's exchange that never ends: its body asks for prompts and generations, its answer has
what comes of them, all requests together. What a step of an engine makes goes out in one write."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, Final

from server.api.peer.door import MEDIA
from server.http.connection import connection_of
from server.http.exchange import Exchange
from server.peers.wire import OPENED, frame
from server.requests.run import RequestRun

MOST_WAITING: Final = 4 * 2**20
"""Bytes that a front has not taken; with more, engines gather."""
GATHER_S: Final = 0.004
SEND_S: Final = 10.0
"""A front that takes nothing for so long is gone."""


class NodeChannel:
    """To one front. Belongs to the event loop."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._pieces: list[bytes] = []
        self._bytes = 0
        self._loop = asyncio.get_running_loop()
        self._next: asyncio.Handle | None = None
        self._is_next_soon = False
        self._wrote_at = 0.0
        self._sending: asyncio.Task[None] | None = None
        self._room, self._idle = asyncio.Event(), asyncio.Event()
        self._room.set()
        self._idle.set()
        self.is_lost = False
        self._runs: dict[int, RequestRun[Any]] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}

    async def open(self) -> None:
        await self._exchange.open_stream(frame(OPENED, 0), MEDIA)

    # What is done for it

    def begin(self, number: int, work: Coroutine[Any, Any, None]) -> None:
        """In a task of its own, which the front can end by its number."""
        task = asyncio.ensure_future(work)
        self._tasks[number] = task
        self._idle.clear()
        task.add_done_callback(lambda done: self._done(number, done))

    def _done(self, number: int, task: "asyncio.Task[None]") -> None:
        if self._tasks.get(number) is task:
            del self._tasks[number]
        if not self._tasks:
            self._idle.set()

    def add_run(self, number: int, run: RequestRun[Any]) -> None:
        self._runs[number] = run

    def remove_run(self, number: int) -> None:
        self._runs.pop(number, None)

    def is_known(self, number: int) -> bool:
        """Whether something is done under it."""
        return number in self._tasks

    def run_of(self, number: int) -> RequestRun[Any] | None:
        return self._runs.get(number)

    def cancel(self, number: int) -> None:
        if (task := self._tasks.get(number)) is not None:
            task.cancel()

    async def idle(self) -> None:
        """Return when nothing is done for it."""
        await self._idle.wait()

    # What is said to it

    def is_ready(self) -> bool:
        return self._bytes < MOST_WAITING and not self.is_lost

    def write(self, piece: bytes, *, is_urgent: bool = True) -> None:
        """With what else comes in this turn of the event loop; what is not urgent, with what comes
        until GATHER_S after the write before: each wakes both servers."""
        self._pieces.append(piece)
        self._bytes += len(piece)
        if self._is_next_soon:
            return
        if is_urgent or self._loop.time() - self._wrote_at >= GATHER_S:
            if self._next is not None:
                self._next.cancel()
            self._is_next_soon = True
            self._next = self._loop.call_soon(self._flush)
        elif self._next is None:
            self._next = self._loop.call_at(self._wrote_at + GATHER_S, self._flush)

    async def room(self) -> None:
        """Return when there is some, or nobody takes it any more."""
        if self._bytes >= MOST_WAITING and not self.is_lost:
            self._room.clear()
            await self._room.wait()

    def _flush(self) -> None:
        self._next, self._is_next_soon = None, False
        if self._sending is not None or not self._pieces or self.is_lost:
            return
        direct = self._exchange.direct
        if direct is not None and direct.is_ready():
            direct.write(self._taken())
        else:
            self._sending = asyncio.ensure_future(self._send())

    def _taken(self) -> bytes:
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._bytes = 0
        self._wrote_at = self._loop.time()
        self._room.set()
        return data

    async def _send(self) -> None:
        """For a front that does not keep up."""
        try:
            async with asyncio.timeout(SEND_S):
                await self._exchange.write(self._taken())
        except TimeoutError:
            self._exchange.drop()
        finally:
            self._sending = None
        self._flush()

    def look(self) -> None:
        """Now and then: its body never ends, and a front that has ended its own side is gone."""
        connection = connection_of(self._exchange.scope)
        if connection is None:
            return
        connection.body_goes_on()
        if connection.is_half_closed:
            connection.cut()

    def lose(self) -> None:
        """The front is gone: nobody hears what is done for it."""
        self.is_lost = True
        self._room.set()
        self._pieces.clear()
        for number, task in list(self._tasks.items()):
            run = self._runs.get(number)
            if run is not None:
                run.cut("client_left")
            else:
                task.cancel()

    async def end(self) -> None:
        """With all that was written."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SEND_S):
                if self._sending is not None:
                    await asyncio.wait([self._sending])
                await self._exchange.write(self._taken(), more=False)
