"""Work that blocks, in a few threads of its owner alone: off the loop, off others' threads.

Half of an executor's price on the loop (32 against 63 µs a call): one future, one callback.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, ParamSpec, TypeAlias, TypeVar

from engines.base import EngineDead
from engines.host.interpreter_turns import beside, give_way

_STOPPED = "The engine was stopped."
P = ParamSpec("P")
T = TypeVar("T")
_Around: TypeAlias = Callable[[asyncio.AbstractEventLoop], AbstractContextManager[Any]]


class GivingUp:
    """`with GivingUp() as is_given_up:` around a call whose work asks, between its steps, whether
    anybody waits for it any more."""

    def __init__(self) -> None:
        self._is_over = False

    def __enter__(self) -> Callable[[], bool]:
        return lambda: self._is_over

    def __exit__(self, *_: object) -> None:
        self._is_over = True


class WorkerThreads:
    """`await threads(call, …)` runs one call in one of `threads` threads; once they are closed it
    raises EngineDead, also where the call still waits for its turn. `in_short_turns`: the calls
    compute for long, and the event loop gets the interpreter within and between them."""

    def __init__(self, threads: int, name: str, *, in_short_turns: bool = False) -> None:
        self._beside: _Around = beside if in_short_turns else nullcontext
        self._calls: SimpleQueue[tuple[asyncio.Future[Any], Callable[[], Any]] | None]
        self._calls = SimpleQueue()
        self._is_closed = False
        self._threads = [
            Thread(target=self._work, name=f"{name}-{number}", daemon=True)
            for number in range(threads)
        ]
        self._has_begun = False

    async def __call__(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if not self._has_begun:
            self._begin()
        self._calls.put((done, partial(call, *args, **kwargs)))
        if self._is_closed:
            _settle(done, None, EngineDead(_STOPPED))
        return await done

    def _begin(self) -> None:
        """With the first call: an owner that never got so far leaves no thread behind."""
        self._has_begun = True
        for thread in self._threads:
            thread.start()

    def _work(self) -> None:
        while _done_one(self._calls, self._beside):
            pass

    def close(self) -> None:
        """Blocks until the running calls have ended; those that wait fail. Idempotent."""
        self._is_closed = True
        with suppress(Empty):
            while True:
                if (waiting := self._calls.get_nowait()) is not None:
                    _tell(waiting[0], None, EngineDead(_STOPPED))
        if self._has_begun:
            for _ in self._threads:
                self._calls.put(None)
            for thread in self._threads:
                thread.join()


def _done_one(
    calls: "SimpleQueue[tuple[asyncio.Future[Any], Callable[[], Any]] | None]",
    beside_loop: "_Around",
) -> bool:
    """Take a call and run it, in a frame that keeps nothing of it; False at the end."""
    waiting = calls.get()
    if waiting is None:
        return False
    done, call = waiting
    if done.cancelled():
        return True
    with beside_loop(done.get_loop()):
        _tell(done, *_outcome(call))
        give_way()
    return True


def _outcome(call: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return call(), None
    except BaseException as failure:
        return None, failure


def _tell(done: "asyncio.Future[Any]", result: Any, error: BaseException | None) -> None:
    with suppress(RuntimeError):  # the loop is closed: nobody waits any more
        done.get_loop().call_soon_threadsafe(_settle, done, result, error)


def _settle(done: "asyncio.Future[Any]", result: Any, error: BaseException | None) -> None:
    if done.done():
        return
    if isinstance(error, asyncio.CancelledError):
        done.cancel()
    elif error is not None:
        done.set_exception(error)
    else:
        done.set_result(result)
