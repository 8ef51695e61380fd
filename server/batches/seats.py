"""How many lines of all batches are asked at once, model by model: fewer beside other requests."""

import asyncio
import contextlib
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Final

BESIDE_OTHERS: Final = 8
"""With other requests on the model a batch has this part of its seats, and at least one."""
_LOOK_S: Final = 0.05


class Seats:
    """First come, first served, so that batches on one model take turns. Belongs to the loop.
    `others` tells how many requests that are no lines are in flight on an alias."""

    def __init__(self, most: int, others: Callable[[str], int]) -> None:
        self._most, self._others = most, others
        self._taken: Counter[str] = Counter()
        self._waiting: dict[str, list[object]] = defaultdict(list)
        self._freed = asyncio.Event()

    async def take(self, alias: str) -> None:
        turn, waiting = object(), self._waiting[alias]
        waiting.append(turn)
        try:
            while waiting[0] is not turn or self._taken[alias] >= self._most_now(alias):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._freed.wait(), _LOOK_S)
        finally:
            waiting.remove(turn)
        self._taken[alias] += 1

    def _most_now(self, alias: str) -> int:
        return max(1, self._most // BESIDE_OTHERS) if self._others(alias) else self._most

    def give_back(self, alias: str) -> None:
        self._taken[alias] -= 1
        self._freed.set()
        self._freed = asyncio.Event()
