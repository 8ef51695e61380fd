"""An answer to a front that never ends: what is generated for it, all its requests together. What a
step of an engine makes for them goes out in one write."""

import asyncio
import contextlib
from typing import Any, Final

from server.api.peer.door import MEDIA, PeerDoor, PeerQuestion
from server.http.connection import connection_of
from server.http.exchange import Exchange
from server.ids import new_id
from server.peers.wire import CHANNEL, frame
from server.requests.run import RequestRun

MOST_WAITING: Final = 4 * 2**20
"""Bytes that a front has not taken; with more, engines gather."""
LOOK_S: Final = 1.0
SEND_S: Final = 10.0
"""A front that takes nothing for so long is gone."""


class NodeChannel:
    """To one front. Belongs to the event loop."""

    def __init__(self, exchange: Exchange) -> None:
        self.name = new_id(24)
        self._exchange = exchange
        self._pieces: list[bytes] = []
        self._bytes = 0
        self._is_scheduled = False
        self._sending: asyncio.Task[None] | None = None
        self._room = asyncio.Event()
        self._room.set()
        self.left = asyncio.Event()
        self._runs: dict[int, RequestRun[Any]] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    def add(self, number: int, run: RequestRun[Any]) -> None:
        self._runs[number] = run
        self._idle.clear()

    def remove(self, number: int) -> None:
        del self._runs[number]
        if not self._runs:
            self._idle.set()

    def run_of(self, number: int) -> RequestRun[Any] | None:
        return self._runs.get(number)

    async def idle(self) -> None:
        """Return when nothing is generated for it."""
        await self._idle.wait()

    async def open(self) -> None:
        await self._exchange.open_stream(frame(CHANNEL, 0, self.name.encode()), MEDIA)

    def is_ready(self) -> bool:
        return self._bytes < MOST_WAITING and not self.left.is_set()

    def write(self, piece: bytes) -> None:
        """Soon: with what else comes in this turn of the event loop."""
        self._pieces.append(piece)
        self._bytes += len(piece)
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    async def room(self) -> None:
        """Return when there is some, or nobody takes it any more."""
        if not self.is_ready() and not self.left.is_set():
            self._room.clear()
            await self._room.wait()

    def _flush(self) -> None:
        self._is_scheduled = False
        if self._sending is not None or not self._pieces or self.left.is_set():
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
        if self._pieces:
            self._flush()

    def look(self) -> None:
        """A front that has ended its own side is gone."""
        connection = connection_of(self._exchange.scope)
        if connection is not None and connection.is_half_closed:
            connection.cut()

    def lose(self) -> None:
        """The front is gone: nobody hears what is generated for it."""
        self.left.set()
        self._room.set()
        self._pieces.clear()
        for run in list(self._runs.values()):
            run.cut("client_left")

    async def end(self) -> None:
        """With all that was written."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SEND_S):
                if self._sending is not None:
                    await asyncio.wait([self._sending])
                await self._exchange.write(self._taken(), more=False)


class ChannelQuestion(PeerQuestion[None]):
    """A front asks for one, and keeps it open."""

    def __init__(self, door: PeerDoor, channels: dict[str, NodeChannel]) -> None:
        super().__init__(door)
        self._channels = channels

    async def serve(self, exchange: Exchange, call: None) -> None:
        channel = NodeChannel(exchange)
        exchange.watch_disconnect(channel.lose)
        self._channels[channel.name] = channel
        try:
            await channel.open()
            await self._until_over(channel)
        finally:
            exchange.unwatch()
            del self._channels[channel.name]
            channel.lose()

    async def _until_over(self, channel: NodeChannel) -> None:
        """The front has left, or this server has ended what it generates for it."""
        drain = self.services.supervisor.drain_began
        waits = [asyncio.ensure_future(each.wait()) for each in (channel.left, drain)]
        try:
            while not (channel.left.is_set() or drain.is_set()):
                await asyncio.wait(waits, timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
                channel.look()
        finally:
            for each in waits:
                each.cancel()
        if not channel.left.is_set():
            await channel.idle()  # at the drain's end all is cut
        if not channel.left.is_set():
            await channel.end()
