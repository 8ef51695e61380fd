"""Run completions on threads, as many as llama.cpp has slots and cache for, their prompts by turns,
and hand over what they say to the event loop in batches."""

import asyncio
import bisect
import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from engines.llamacpp.adapter_turns import AdapterTurns
from engines.llamacpp.model import LlamacppModel
from engines.llamacpp.prompt_calls import Means, PromptCalls
from engines.llamacpp.prompt_owners import PromptOwners
from engines.llamacpp.task import Item, Task
from engines.llamacpp.token_reader import TokenReader
from engines.llamacpp.turns import ReadingTurns, Turn
from engines.llamacpp.wire import Chunk

MOST_OVERTAKERS = 64
UNFAIR_OVERTAKER = 16
"""... as which counts who has others of its owner here, and overtakes one that has none."""


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
        self.put_all(((task, item),))

    def put_all(self, items: Sequence[tuple[Task, Item]]) -> None:
        self._items.extend(items)
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
    """Admits tasks in order of priority while a slot and enough cache are free, and as their
    prompts' turns come.

    llama.cpp's slots share one cache; when it overflows every stream dies. So each task holds the
    cells it can need at most for as long as it runs. All methods belong to the event loop.
    """

    def __init__(self, model: LlamacppModel) -> None:
        self._free_slots = model.slot_count
        self._free_cells = model.cells
        self._turns = ReadingTurns(model.step_tokens, model.long_prompt_tokens)
        self._adapters = AdapterTurns()
        self._owners = PromptOwners()
        self._order = itertools.count()
        self._waiting: list[tuple[int, int, Task]] = []
        self._running: set[Task] = set()
        # one thread more for each long prompt: its next call is sent while the last one runs
        self._threads = ThreadPoolExecutor(model.slot_count + 2, thread_name_prefix="llama-stream")
        outbox = Outbox(asyncio.get_running_loop(), self._arrived)
        self._reader = TokenReader(outbox.put_all)
        self._means: Means | None = Means(
            complete=model.server.handle_completions,
            find_slot=model.reading_slot,
            submit=self._threads.submit,
            put=outbox.put,
            follow=self._reader.follow,
            piece_tokens=self._turns.piece_tokens,
            step_tokens=model.step_tokens,
            recent=model.recent_prompts,
            make_room=model.room.make,
        )

    def submit(self, task: Task) -> None:
        if self._owners.see(task):
            for _, _, other in self._waiting:
                other.read_anew()
        if self._owners.are_several:
            task.read_anew()
        bisect.insort(self._waiting, (task.priority, next(self._order), task))
        self._admit()

    def _arrived(self, task: Task, item: Item) -> None:
        if item == "read":
            self._turns.end(task)
            self._owners.end(task)
            if not task.is_whole:
                self._turns.streams(task)
            self._admit()
            return
        if not isinstance(item, Chunk | list):  # its last call has returned
            self._running.discard(task)
            self._adapters.end(task)
            self._owners.end(task)
            self._free_slots += task.slots
            self._free_cells += task.cells
            self._turns.end(task)
            self._turns.streamed(task)
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

    def waiting_for_cache(self, sequences: int) -> int:
        """Of so many choices; 0 while there is room for another task like those that run."""
        used = sum(task.cells for task in self._running)
        if self._free_cells * len(self._running) >= used:
            return 0
        return max(0, sequences - sum(task.slots for task in self._running))

    def close(self) -> None:
        """Wait for every running call to return, and let go of the server; blocks."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._reader.close()
        self._means = None

    def _admit(self) -> None:
        while (turn := self._next()) is not None:
            task = turn.task
            self._waiting = [entry for entry in self._waiting if entry[2] is not task]
            self._running.add(task)
            self._adapters.begin(task)
            self._owners.begin(task)
            self._free_slots -= task.slots
            self._free_cells -= task.cells
            self._turns.begin(turn)
            assert self._means is not None
            self._threads.submit(PromptCalls(task, self._means).run_next)

    def _next(self) -> Turn | None:
        """Small requests may overtake a large one that waits for cache, but not for ever."""
        if not self._owners.may_begin:
            return None
        overtaken: list[Task] = []
        waiting = self._adapters.allowed([entry[2] for entry in self._waiting])
        for turn in self._turns.ready(waiting):
            task = turn.task
            if task.is_seeded and self._is_ending():
                return None
            if not self._free_slots or any(t.overtakers >= MOST_OVERTAKERS for t in overtaken):
                return None
            if task.slots > self._free_slots or task.cells > self._free_cells:
                overtaken.append(task)
                continue
            for other in overtaken:
                is_fair = task.priority <= 0 or other.priority > 0
                other.overtakers += 1 if is_fair else UNFAIR_OVERTAKER
            return turn
        return None

    def _is_ending(self) -> bool:
        """Nothing runs but what nobody wants any more, for a step or two: in one step with it a
        seeded task would draw other tokens than alone."""
        return bool(self._running) and all(task.is_cancelled for task in self._running)
