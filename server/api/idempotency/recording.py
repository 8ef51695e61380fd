"""An answer while it is made, for everybody who asked for it: whole pieces, in order."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from server.http.asgi import Message
from server.idempotency.entry import Answer

MOST_BYTES: Final = 16 * 2**20
"""Of an answer that is kept; of a longer one only what somebody still reads is in memory, ..."""
AHEAD: Final = 256
"""... so many pieces at most."""


class RecordedAnswer:
    """Takes an answer as ASGI's `send` does. Belongs to one event loop."""

    def __init__(self) -> None:
        self.claimed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Whether it is known what came of its key before; fails with what hinders that."""
        self.claimed.add_done_callback(_seen)
        self.print = b""
        """Of the body that the answer is to."""
        self.status = 0
        self.media_type = b""
        self.is_stream = False
        self.headers: list[tuple[bytes, bytes]] = []
        self.code = ""
        """Of the error that the answer is, or ends with."""
        self.is_over = False
        self.is_abandoned = False
        """Nobody makes it any more."""
        self.is_whole = True
        """Whether all pieces are here."""
        self._pieces: list[bytes] = []
        self._bytes = self._dropped = 0
        self._readers: dict[object, int] = {}
        """How many pieces each has taken."""
        self._changed = asyncio.Event()
        self.before_end: Callable[[bytes], Awaitable[None]] | None = None
        """What must be done with the last piece before anybody sees it."""

    async def take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._begin(message["status"], message["headers"])
            return
        piece, is_last = message.get("body", b""), not message.get("more_body", False)
        if is_last and self.before_end is not None:
            await self.before_end(piece)
        self._add(piece)
        self.is_over = is_last
        self._tell()
        if not self.is_whole:
            await self._while_ahead()

    def answer(self, last: bytes) -> Answer | None:
        """All of it with its last piece; None: it is too long, or no success."""
        body = b"".join([*self._pieces, last])
        if not self.is_whole or self.code or not 200 <= self.status < 300:
            return None
        if len(body) > MOST_BYTES:
            return None
        return Answer(self.status, self.media_type, self.is_stream, body)

    def fill(self, answer: Answer) -> None:
        """With one that was kept."""
        self.status, self.media_type = answer.status, answer.media_type
        self.is_stream, self.is_over = answer.is_stream, True
        self._pieces = [answer.body]
        self._tell()

    def abandon(self) -> None:
        if not self.is_over:
            self.is_abandoned = True
            self._tell()

    async def begun(self) -> None:
        while not (self.status or self.is_abandoned):
            await self._changed.wait()

    async def pieces(self) -> AsyncIterator[bytes]:
        """All of them as they come, several at once where they wait. Ends early where nobody makes
        it any more, or its beginning is gone."""
        reader, taken = object(), 0
        try:
            while taken >= self._dropped:
                waiting = self._pieces[taken - self._dropped :]
                if not waiting and (self.is_over or self.is_abandoned):
                    return
                taken += len(waiting)
                self._readers[reader] = taken
                if waiting:
                    self._tell()
                    yield b"".join(waiting)
                else:
                    await self._changed.wait()
        finally:
            self._readers.pop(reader, None)
            self._tell()

    def _begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.status, self.headers = status, headers
        told = dict(headers)
        self.media_type = told.get(b"content-type", b"")
        self.is_stream = b"content-length" not in told
        self._tell()

    def _add(self, piece: bytes) -> None:
        if piece:
            self._pieces.append(piece)
            self._bytes += len(piece)
        if self.is_stream and self._bytes > MOST_BYTES:
            self.is_whole = False
            self._drop()

    def _drop(self) -> None:
        """What all readers have."""
        end = self._dropped + len(self._pieces)
        least = min(self._readers.values(), default=end)
        del self._pieces[: least - self._dropped]
        self._dropped = max(self._dropped, least)

    async def _while_ahead(self) -> None:
        while self._readers and len(self._pieces) > AHEAD:
            await self._changed.wait()
            self._drop()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def _seen(claimed: "asyncio.Future[None]") -> None:
    if not claimed.cancelled():
        claimed.exception()
