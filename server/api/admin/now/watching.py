"""A look a second while somebody watches; nothing while nobody does."""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from server.api.admin.now.wire import MomentPast, Now
from server.errors import ApiError
from server.requests.outcomes import cut_error
from server.requests.supervisor import Supervisor

EVERY_S: Final = 1.0
HEARTBEAT_S: Final = 10.0
LONGEST_S: Final = 600.0
"""Then who watches asks again, and is looked at again: a session may have ended."""
MOST_WATCHERS: Final = 64
MOST_OF_ONE: Final = 8
_KEPT: Final = 300

log = logging.getLogger("fjord.api")


class Watching:
    """Belongs to the event loop."""

    def __init__(
        self,
        look: Callable[[], Awaitable[Now]],
        supervisor: Supervisor,
        every_s: float = EVERY_S,
    ) -> None:
        self._look, self._supervisor, self._every_s = look, supervisor, every_s
        self._watchers: Counter[str] = Counter()
        self._next: asyncio.Future[Now] | None = None
        self._task: asyncio.Task[None] | None = None
        self.history: deque[MomentPast] = deque(maxlen=_KEPT)

    @contextmanager
    def watcher(self, name: str) -> Iterator[None]:
        """One more that watches, of a person or key."""
        self._watchers[name] += 1
        try:
            yield
        finally:
            self._watchers -= Counter([name])

    def check(self, name: str) -> None:
        """Raises ApiError 503 where one more may not watch."""
        if self._supervisor.draining:
            raise cut_error("shut_down")
        if self._watchers.total() >= MOST_WATCHERS or self._watchers[name] >= MOST_OF_ONE:
            message = (
                f"{MOST_WATCHERS} watch this server already, or {MOST_OF_ONE} of yours; GET "
                "/admin/v1/now has the same, once."
            )
            raise ApiError.retry(503, "OVERLOADED", message, 10)

    async def looks(self) -> AsyncIterator[Now | None]:
        """Each as it is taken, for LONGEST_S at most; None: there was none for HEARTBEAT_S. One
        that is missed is missed. Ends with the drain. Only for a `watcher`."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + LONGEST_S
        while loop.time() < ends and not self._supervisor.draining:
            coming = self._coming()
            await asyncio.wait([coming], timeout=HEARTBEAT_S)
            if coming.done() and coming.cancelled():
                return
            yield coming.result() if coming.done() else None

    def _coming(self) -> asyncio.Future[Now]:
        if self._next is None or self._next.done():
            self._next = asyncio.get_running_loop().create_future()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._take_looks(), name="now")
        return self._next

    async def _take_looks(self) -> None:
        """While somebody watches, and the server does not end."""
        while self._watchers.total() and not self._supervisor.draining:
            try:
                self._tell(await self._look())
            except Exception:  # the next one may do better
                log.exception("a look at the server failed")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._supervisor.drain_began.wait(), self._every_s)
        if self._next is not None:
            self._next.cancel()

    def _tell(self, now: Now) -> None:
        if now.total is not None:
            self.history.append(now.total)
        if self._next is not None and not self._next.done():
            self._next.set_result(now)
