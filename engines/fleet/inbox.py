"""What the fleet's owner is told, and when it has heard it."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import TypeAlias

from engines.base import EngineUnavailable

News: TypeAlias = Callable[[], None]
"""Something that the owner calls, between two of its decisions."""
Tell: TypeAlias = Callable[[News], None]
_HEARD_S = 5.0
"""It hears within milliseconds, unless the fleet stops."""


class Inbox:
    """Anybody on the loop tells; the owner alone hears."""

    def __init__(self) -> None:
        self._news: asyncio.Queue[News] = asyncio.Queue()

    def tell(self, news: News) -> None:
        self._news.put_nowait(news)

    def empty(self) -> bool:
        return self._news.empty()

    async def hear(self, until: float | None) -> None:
        """Take in what happened, at least one thing, unless the time `until` (by the monotonic
        clock) comes first."""
        timeout_s = None if until is None else max(0.0, until - time.monotonic())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                (await self._news.get())()
        while not self._news.empty():
            self._news.get_nowait()()


async def obeyed(tell: Tell, news: News) -> None:
    """Returns once the owner has called `news`. Raises EngineUnavailable where the fleet stops, and
    then it is never called."""
    heard: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def obey() -> None:
        if not heard.done():
            news()
            heard.set_result(None)

    tell(obey)
    try:
        await asyncio.wait_for(heard, _HEARD_S)
    except TimeoutError:
        raise EngineUnavailable("The server is shutting down.") from None
