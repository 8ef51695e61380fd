"""How many lines of all batches are asked at once, model by model."""

import asyncio
from collections import defaultdict


class Seats:
    """First come, first served, so that batches on one model take turns. Belongs to the loop."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._by_alias: dict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(self._most)
        )

    async def take(self, alias: str) -> None:
        await self._by_alias[alias].acquire()

    def give_back(self, alias: str) -> None:
        self._by_alias[alias].release()
