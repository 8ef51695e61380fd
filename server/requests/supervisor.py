"""What is in flight, and one task that looks at it: deadlines, stalled clients, silence, drains.

`Supervisor` is the one register of running requests: a model's queue limit, /metrics and the drain
read it. Two others count something else, and stay: `Limiter` counts a key's slots, which are held
from before the body has come, and the ledger knows which requests have an entry on disk.
"""

import asyncio
import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Protocol

from server.requests.live import LiveRun
from server.requests.outcomes import Cut

TICK_S = 0.3
"""A crash leaves so much of a running answer unbilled, and the 50 ms that the ledger may gather."""

AT_ONCE = 500
"""Answers that are looked at in one step of the loop: some µs each."""


class Supervised(Protocol):
    """What the supervisor asks of a running answer."""

    @property
    def alias(self) -> str: ...

    @property
    def sequences(self) -> int:
        """How many are generated for it at once."""

    @property
    def owner(self) -> str: ...

    def tick(self, now: float) -> None:
        """Called a few times a second with time.monotonic(); must not block."""

    def cut(self, why: Cut) -> None:
        """End the answer now, billing what it has; idempotent."""

    def live(self) -> LiveRun:
        """As it stands now; its tokens never become fewer."""


class Supervisor:
    """The running answers of one server process."""

    def __init__(self, interval_s: float = TICK_S) -> None:
        self._interval_s = interval_s
        self._answers: set[Supervised] = set()
        self._sequences: Counter[str] = Counter()
        self._ended_tokens: Counter[str] = Counter()
        self._by_owner: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._task: asyncio.Task[None] | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self.draining = False
        self.drain_began = asyncio.Event()

    def __len__(self) -> int:
        return len(self._answers)

    def in_flight(self, alias: str) -> int:
        """Sequences that run on or wait for a model."""
        return self._sequences[alias]

    def by_owner(self, alias: str) -> Mapping[str, int]:
        """owner -> sequences that run on a model or wait for it; only of those that have some."""
        return self._by_owner[alias]

    def sequences(self) -> Mapping[str, int]:
        """alias -> sequences that run on it or wait for it."""
        return dict(self._sequences)

    def requests(self) -> Mapping[str, int]:
        """alias -> requests that run on or wait for it."""
        return Counter(answer.alias for answer in self._answers)

    def live(self) -> Iterator[tuple[str, LiveRun]]:
        """Alias and state of each that runs."""
        return ((answer.alias, answer.live()) for answer in self._answers)

    def generated(self) -> Mapping[str, int]:
        """alias -> tokens since the start, those of running answers among them."""
        counts = Counter(self._ended_tokens)
        for alias, run in self.live():
            counts[alias] += run.tokens
        return counts

    def add(self, answer: Supervised) -> None:
        """Look after `answer` until `remove`."""
        self._answers.add(answer)
        self._sequences[answer.alias] += answer.sequences
        self._by_owner[answer.alias][answer.owner] += answer.sequences
        self._idle.clear()

    def remove(self, answer: Supervised) -> None:
        """The answer is over."""
        self._answers.remove(answer)
        self._ended_tokens[answer.alias] += answer.live().tokens
        self._sequences[answer.alias] -= answer.sequences
        held = self._by_owner[answer.alias]
        held[answer.owner] -= answer.sequences
        if not held[answer.owner]:
            del held[answer.owner]
        if not self._answers:
            self._idle.set()

    async def start(self) -> None:
        """Begin ticking."""
        self._task = asyncio.create_task(self._run(), name="supervisor")

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
        self.drain_began.set()
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
            for number, answer in enumerate(tuple(self._answers)):
                if number % AT_ONCE == AT_ONCE - 1:
                    await asyncio.sleep(0)
                if answer in self._answers:
                    answer.tick(now)
