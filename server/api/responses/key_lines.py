"""Who of a key's background responses runs: the first ones, in the order in which they came."""

import asyncio
import contextlib
from collections import defaultdict


class KeyLines:
    """Belongs to the event loop. A turn stands in its key's line until it is over."""

    def __init__(self) -> None:
        self._lines: defaultdict[str, list[object]] = defaultdict(list)
        self._moved = asyncio.Event()

    def enter(self, key_id: str, turn: object) -> None:
        self._lines[key_id].append(turn)

    def leave(self, key_id: str, turn: object) -> None:
        """Idempotent."""
        line = self._lines[key_id]
        if turn in line:
            line.remove(turn)
        if not line:
            del self._lines[key_id]
        self.stir()

    def may_run(self, key_id: str, turn: object, most: int) -> bool:
        """Whether it is among the first so many of its key."""
        return turn in self._lines.get(key_id, ())[:most]

    def stir(self) -> None:
        """Who waits looks again."""
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    async def moved(self, patience_s: float) -> None:
        """Returns when somebody left, or after a while."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._moved.wait(), patience_s)
