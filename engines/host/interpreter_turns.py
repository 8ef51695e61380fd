"""The event loop's turn at the interpreter beside a thread that computes in Python for long.

A thread keeps the interpreter for 5 ms when another wants it, and uvloop asks for it anew at each
callback: 64 connections in turn are then a gap of 0.3 s. Shorter turns for ever cost every request
a sixth of its time (measured: 2.4 against 2.1 ms at 64 streams), so they last as long as the work.

One call of a C function (8 MiB of escapes: 20 ms) is no turn's matter: nothing interrupts it, and
several in a row with a callback between each were a gap of 150 ms. So such work gives way: it waits
between its steps until the loop has done all that was ready.
"""

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
SHORT_S = 0.001
STEP_S = 0.002
"""So much of a thread's own time, and it gives way."""
_LONGEST_WAIT_S = 0.05
"""A loop that takes longer is held up by something else, or has ended."""


class InterpreterTurns:
    """Thread-safe. Nested or side by side, the last one to end puts back what was before."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before_s = 0.0

    @contextmanager
    def short(self) -> Iterator[None]:
        """Around work that keeps the interpreter for more than some milliseconds."""
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._before_s = sys.getswitchinterval()
                sys.setswitchinterval(min(SHORT_S, self._before_s))
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    sys.setswitchinterval(self._before_s)


TURNS = InterpreterTurns()
"""Of the process: there is one interpreter."""


class _Beside(threading.local):
    """What this thread knows of the event loop that it computes for."""

    loop: asyncio.AbstractEventLoop | None = None
    since_s = 0.0
    """This thread's own time when it last gave way."""


_BESIDE = _Beside()


@contextmanager
def beside(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Around long work in a thread: in short turns, and `give_way` knows whom."""
    _BESIDE.loop = loop
    try:
        with TURNS.short():
            yield
    finally:
        _BESIDE.loop = None


def give_way(*, at_once: bool = False) -> None:
    """Between two steps or calls of long work, and `at_once` before a step that is long in itself:
    blocks until the event loop has come round. Most return at once: it is due after STEP_S, and
    only `beside` a loop."""
    loop = _BESIDE.loop
    if loop is None or (not at_once and time.thread_time() - _BESIDE.since_s < STEP_S):
        return
    came_round = threading.Event()
    with suppress(RuntimeError):  # the loop is closed
        # what becomes ready by what was ready has its turn too: a timer's task, its task's write
        loop.call_soon_threadsafe(loop.call_soon, came_round.set)
        came_round.wait(_LONGEST_WAIT_S)
    _BESIDE.since_s = time.thread_time()


def in_short_steps(rows: list[T]) -> Iterator[T]:
    """Each in its order, giving way between them. Takes them out of the list: all of them let go
    at once would keep the interpreter."""
    rows.reverse()
    while rows:
        give_way()
        yield rows.pop()


async def in_short_turns(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """As asyncio.to_thread."""
    loop = asyncio.get_running_loop()

    def work() -> T:
        with beside(loop):
            return call(*args, **kwargs)

    return await asyncio.to_thread(work)
