"""The events of one response that are not kept yet: whole ones, read from any number on while more
come. Those before them are read from where they are kept."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import zstandard

from server.memory.response_rows import EVENT_END, from_number

_SEGMENT_BYTES: Final = 256 * 1024
_LEVEL: Final = 1


class EventLog:
    """Belongs to the event loop. What is old is packed: a piece of text is two hundred bytes of
    event, and all of them are alike."""

    def __init__(self) -> None:
        self.first_number = self.next_number = 0
        """Of the first event that is here, and of the one that comes next."""
        self._start = self._end = 0
        """In bytes of all events."""
        self._packed: deque[bytes] = deque()
        self._newest = bytearray()
        self.is_over = False
        self._news = asyncio.Event()

    def add(self, events: bytes) -> None:
        self._newest += events
        self._end += len(events)
        self.next_number += events.count(EVENT_END)
        if len(self._newest) >= _SEGMENT_BYTES:
            self._packed.append(zstandard.ZstdCompressor(level=_LEVEL).compress(self._newest))
            self._newest.clear()
        self._tell()

    def end(self) -> None:
        self.is_over = True
        self._tell()

    def unkept(self) -> bytes:
        """All that are here."""
        unpack = zstandard.ZstdDecompressor().decompress
        return b"".join([*map(unpack, self._packed), self._newest])

    def drop(self, kept: bytes) -> None:
        """`kept`, which `unkept` gave, is read elsewhere from now on."""
        left = self.unkept()[len(kept) :]
        self._packed.clear()
        self._newest[:] = left
        self._start += len(kept)
        self.first_number += kept.count(EVENT_END)

    async def follow(
        self, number: int, patience_s: float, earlier: Callable[[int], Awaitable[bytes]]
    ) -> AsyncIterator[bytes]:
        """Events from a number on, as they come; b"": nothing came for so long. `earlier` gives
        some from a number on that are kept; none where they were deleted."""
        place = -1
        while True:
            if number < self.first_number and place < self._start:
                if not (new := await earlier(number)):
                    return
                place = -1
            else:
                new, place = self._since(place, number)
            if new:
                number += new.count(EVENT_END)
                yield new
            elif self.is_over:
                return
            elif not await self._wait(patience_s):
                yield b""

    def _since(self, place: int, number: int) -> tuple[bytes, int]:
        """What is new after a place in bytes, and the place after it; where there is none yet it is
        looked for by its number."""
        if place >= self._start:
            return self._from(place), self._end
        if number > self.next_number:
            return b"", -1
        return from_number(self.unkept(), number - self.first_number), self._end

    def _from(self, place: int) -> bytes:
        newest = place - (self._end - len(self._newest))
        if newest >= 0:
            return bytes(self._newest[newest:])
        return self.unkept()[place - self._start :]

    async def _wait(self, patience_s: float) -> bool:
        try:
            await asyncio.wait_for(self._news.wait(), patience_s)
        except TimeoutError:
            return False
        return True

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()
