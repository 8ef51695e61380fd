"""The events of one response so far: whole ones, read from any number on while more come."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import zstandard

_SEGMENT_BYTES: Final = 256 * 1024
_LEVEL: Final = 1
_END: Final = b"\n\n"


class EventLog:
    """Belongs to the event loop. What is old is packed: a piece of text is two hundred bytes of
    event, and all of them are alike."""

    def __init__(self) -> None:
        self._segments: list[bytes] = []
        self._newest = bytearray()
        self._taken = 0
        """Bytes of the newest segment that were taken to be kept."""
        self._untaken: list[bytes] = []
        self.is_over = False
        self._news = asyncio.Event()

    def add(self, events: bytes) -> None:
        self._newest += events
        if len(self._newest) >= _SEGMENT_BYTES:
            self._pack()
        self._news.set()

    def _pack(self) -> None:
        if self._taken < len(self._newest):
            self._untaken.append(bytes(self._newest[self._taken :]))
        pack = zstandard.ZstdCompressor(level=_LEVEL).compress
        self._segments.append(pack(bytes(self._newest)))
        self._newest.clear()
        self._taken = 0

    def end(self) -> None:
        self.is_over = True
        self._news.set()

    def take_new(self) -> bytes:
        """What has come since the last time."""
        new = b"".join(self._untaken) + bytes(self._newest[self._taken :])
        self._untaken.clear()
        self._taken = len(self._newest)
        return new

    def give_back(self, new: bytes) -> None:
        """What was taken could not be kept: it comes before what is newer."""
        self._untaken.insert(0, new)

    async def follow(self, first_number: int, patience_s: float) -> AsyncIterator[bytes]:
        """Events from a number on, as they come; b"": nothing came for so long."""
        place, missing = (0, 0), first_number
        while not self.is_over or place != (len(self._segments), len(self._newest)):
            new, place = self._since(place)
            if new and missing > 0:
                count = new.count(_END)
                new, missing = from_number(new, missing), missing - count
            if new:
                yield new
            elif not self.is_over and not await self._wait(patience_s):
                yield b""

    def _since(self, place: tuple[int, int]) -> tuple[bytes, tuple[int, int]]:
        segment, offset = place
        now = len(self._segments), len(self._newest)
        if segment == now[0]:
            return bytes(self._newest[offset:]), now
        unpack = zstandard.ZstdDecompressor().decompress
        parts = [*map(unpack, self._segments[segment:]), bytes(self._newest)]
        return b"".join(parts)[offset:], now

    async def _wait(self, patience_s: float) -> bool:
        self._news.clear()
        try:
            await asyncio.wait_for(self._news.wait(), patience_s)
        except TimeoutError:
            return False
        return True


def from_number(events: bytes, number: int) -> bytes:
    """Without the first so many."""
    place = 0
    for _ in range(number):
        end = events.find(_END, place)
        if end < 0:
            return b""
        place = end + len(_END)
    return events[place:]
