"""One exchange with a node that never ends: prompts and generations are asked for in its body, all
requests together, and come back in its answer, so that a step of an engine is one read here."""

import asyncio
from typing import Final, Protocol

from server.peers.connection import PeerConnection
from server.peers.wire import OPENED, FrameReader, frame

OPEN_S: Final = 5.0


class Hearing(Protocol):
    """Who hears one request's frames."""

    def heard(self, kind: int, payload: bytes) -> None: ...
    def lost(self) -> None:
        """The channel is gone."""


class Channel:
    """An AnswerReader of it. Belongs to the event loop."""

    def __init__(self) -> None:
        self.is_open = True
        self.connection: PeerConnection | None = None
        self.loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[None] = self.loop.create_future()
        self._frames = FrameReader()
        self._hearing: dict[int, Hearing] = {}
        self._count = 0
        self._status = 0
        self._said: list[bytes] = []

    @property
    def is_ready(self) -> bool:
        return self.is_open and self._opened.done()

    async def opened(self) -> None:
        """Raises OSError where it is refused or lost, TimeoutError."""
        async with asyncio.timeout(OPEN_S):
            await asyncio.shield(self._opened)
        if not self.is_open:
            raise ConnectionError("the channel was not opened")

    def ask(self, kind: int, payload: bytes, hearing: Hearing) -> int:
        """Under what number; until `remove`. Only while it is open."""
        self._count = (self._count + 1) % 2**32
        self._hearing[self._count] = hearing
        self.say(kind, self._count, payload)
        return self._count

    def hand_over(self, number: int, hearing: Hearing) -> None:
        """Who hears what comes from now on."""
        if number in self._hearing:
            self._hearing[number] = hearing

    def say(self, kind: int, number: int, payload: bytes = b"") -> None:
        """With what else is said in this turn of the event loop. What nobody listens to when it is
        closed."""
        if not self._said:
            self.loop.call_soon(self._flush)
        self._said.append(frame(kind, number, payload))

    def _flush(self) -> None:
        said, self._said = self._said, []
        if self.connection is not None and self.is_open:
            self.connection.write_piece(b"".join(said))

    def remove(self, number: int) -> None:
        self._hearing.pop(number, None)

    def close(self) -> None:
        """Who hears is told that it is lost."""
        if self.connection is not None:
            self.connection.close()
        self._end()

    def _end(self) -> None:
        self.is_open = False
        if not self._opened.done():
            self._opened.set_result(None)
        hearing, self._hearing = list(self._hearing.values()), {}
        for each in hearing:
            each.lost()

    # An AnswerReader

    def begun(self, status: int) -> None:
        self._status = status

    def came(self, data: bytes) -> None:
        if self._status != 200:
            return
        for kind, number, payload in self._frames.feed(data):
            if kind == OPENED:
                if not self._opened.done():
                    self._opened.set_result(None)
            elif (hearing := self._hearing.get(number)) is not None:
                hearing.heard(kind, payload)

    def ended(self) -> None:
        self._end()

    def lost(self, is_untouched: bool) -> None:
        self._end()
