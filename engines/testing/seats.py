"""The seats of a scripted engine: who has none waits inside of it, in order of priority."""

import asyncio
import bisect
import contextlib
import itertools
import math
from collections.abc import AsyncIterator, Mapping
from typing import Any


class ScriptedSeats:
    """`seats` of the args: as many sequences are computed at once; without it, all are."""

    def __init__(self, args: Mapping[str, Any]) -> None:
        self.most: int | float = args.get("seats", math.inf)
        self._free = self.most
        self._order = itertools.count()
        self._waiting: list[tuple[int, int, int, asyncio.Event]] = []

    @contextlib.asynccontextmanager
    async def taken(
        self, priority: int, sequences: int, wake: asyncio.Event
    ) -> AsyncIterator[bool]:
        """Whether there was room before somebody set `wake`, who may also end it."""
        waits = (priority, next(self._order), sequences, asyncio.Event())
        bisect.insort(self._waiting, waits)
        self._seat()
        try:
            await self._seated(waits, wake)
            yield waits[3].is_set()
        finally:
            if waits[3].is_set():
                self._free += sequences
            else:
                self._waiting.remove(waits)
            self._seat()

    async def _seated(
        self, waits: tuple[int, int, int, asyncio.Event], wake: asyncio.Event
    ) -> None:
        if waits[3].is_set():
            return
        tasks = [asyncio.ensure_future(event.wait()) for event in (waits[3], wake)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()

    def _seat(self) -> None:
        """A request of more sequences than there are seats runs alone."""
        while self._waiting and min(self._waiting[0][2], self.most) <= self._free:
            _, _, sequences, seated = self._waiting.pop(0)
            self._free -= sequences
            seated.set()
