"""Run completions on threads, as many as llama.cpp has slots and cache for, and hand over what
they say to the event loop in batches."""

import asyncio
import bisect
import contextlib
import itertools
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Item: TypeAlias = bytes | list[bytes] | BaseException | None
"""A chunk's JSON, or several; what the call raised; None: the call returned."""

HELD_CHUNKS = 64
"""A whole answer's chunks cross to the loop that many at a time."""

MOST_OVERTAKERS = 64


@dataclass(slots=True, kw_only=True, eq=False)
class Task:
    """One call of handle_completions: a request, or one choice of it."""

    payload: bytes
    slots: int
    """As many as it has choices."""
    cells: int
    """Cache cells it can need at most: the prompt, and max_tokens for each choice."""
    first_index: int
    priority: int
    is_whole: bool
    """Nobody waits for its single tokens."""
    is_cancelled: bool = False
    overtakers: int = 0
    receive: "Callable[[Task, Item], None]" = field(default=lambda task, item: None)


class Outbox:
    """Carries items from many threads to the loop; one wake-up serves all that arrived by then.

    Every stream gains a token in the same step of llama.cpp, so at 32 streams this is one write
    to the loop's pipe instead of 32.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, arrived: Callable[[Task, Item], None]
    ) -> None:
        self._loop = loop
        self._arrived = arrived
        self._items: deque[tuple[Task, Item]] = deque()
        self._is_waking = False

    def put(self, task: Task, item: Item) -> None:
        self._items.append((task, item))
        if not self._is_waking:
            self._is_waking = True
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody reads any more
                self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._is_waking = False  # before reading: a put from now on wakes again
        while self._items:
            task, item = self._items.popleft()
            self._arrived(task, item)


class SlotQueue:
    """Admits tasks in order of priority while a slot and enough cache are free.

    llama.cpp's slots share one cache; when it overflows every stream dies. So each task holds the
    cells it can need at most for as long as it runs. All methods belong to the event loop.
    """

    def __init__(self, server: Any, slot_count: int, cells: int) -> None:
        self.cells = cells
        self._server = server
        self._free_slots = slot_count
        self._free_cells = cells
        self._order = itertools.count()
        self._waiting: list[tuple[int, int, Task]] = []
        self._outbox = Outbox(asyncio.get_running_loop(), self._arrived)
        self._threads = ThreadPoolExecutor(slot_count, thread_name_prefix="llama-stream")

    def submit(self, task: Task) -> None:
        bisect.insort(self._waiting, (task.priority, next(self._order), task))
        self._admit()

    def _arrived(self, task: Task, item: Item) -> None:
        if not isinstance(item, bytes | list):  # its call has returned
            self._free_slots += task.slots
            self._free_cells += task.cells
            self._admit()
        task.receive(task, item)

    def cancel(self, task: Task) -> None:
        """A running task ends after its next chunk; a waiting one at once."""
        if task.is_cancelled:
            return
        task.is_cancelled = True
        waits = any(entry[2] is task for entry in self._waiting)
        if waits:
            self._waiting = [entry for entry in self._waiting if entry[2] is not task]
            task.receive(task, None)
            self._admit()

    def close(self) -> None:
        """Wait for every running call to return, and let go of the server; blocks."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._server = None

    def _admit(self) -> None:
        """Small requests may overtake a large one that waits for cache, but not for ever."""
        overtaken: list[Task] = []
        for entry in list(self._waiting):
            task = entry[2]
            if not self._free_slots or any(t.overtakers >= MOST_OVERTAKERS for t in overtaken):
                return
            if task.slots > self._free_slots or task.cells > self._free_cells:
                overtaken.append(task)
                continue
            for other in overtaken:
                other.overtakers += 1
            self._waiting.remove(entry)
            self._free_slots -= task.slots
            self._free_cells -= task.cells
            self._threads.submit(self._call, task)

    def _call(self, task: Task) -> None:
        held: list[bytes] = []
        put = self._outbox.put

        def on_chunk(chunk: bytes) -> bool:
            put(task, chunk)
            return task.is_cancelled

        def hold_chunk(chunk: bytes) -> bool:
            held.append(chunk)
            if len(held) == HELD_CHUNKS:
                put(task, held.copy())
                held.clear()
            return task.is_cancelled

        end: BaseException | None = None
        try:
            self._server.handle_completions(task.payload, hold_chunk if task.is_whole else on_chunk)
        except BaseException as error:
            end = error
        if held:
            put(task, held)
        put(task, end)
