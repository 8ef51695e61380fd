"""One task that looks at every running answer: deadlines, stalled clients, silence, drains."""

import asyncio
import contextlib
import time
from typing import Literal, Protocol, TypeAlias

Cut: TypeAlias = Literal["client_left", "timed_out", "shut_down"]
"""Why an answer is ended from outside."""


class Supervised(Protocol):
    """What the watch asks of a running answer."""

    def tick(self, now: float) -> None:
        """Called about twice a second with time.monotonic(); must not block."""

    def cut(self, why: Cut) -> None:
        """End the answer now, billing what it has; idempotent."""


class Supervisor:
    """The running answers of one server process."""

    def __init__(self, interval_s: float = 0.5) -> None:
        self._interval_s = interval_s
        self._answers: set[Supervised] = set()
        self._task: asyncio.Task[None] | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self.draining = False

    def __len__(self) -> int:
        return len(self._answers)

    def add(self, answer: Supervised) -> None:
        """Look after `answer` until `remove`."""
        self._answers.add(answer)
        self._idle.clear()

    def remove(self, answer: Supervised) -> None:
        """The answer is over."""
        self._answers.discard(answer)
        if not self._answers:
            self._idle.set()

    async def start(self) -> None:
        """Begin ticking."""
        self._task = asyncio.create_task(self._run(), name="watch")

    async def stop(self) -> None:
        """Stop ticking; running answers go on."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def drain(self, timeout_s: float, cut_s: float = 5.0) -> None:
        """Refuse new work, give running answers `timeout_s` seconds, then cut them; returns when
        none is left, or after `cut_s` more. A second call with a shorter time hastens the first."""
        self.draining = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        for answer in tuple(self._answers):
            answer.cut("shut_down")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), cut_s)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            now = time.monotonic()
            for answer in tuple(self._answers):
                answer.tick(now)
