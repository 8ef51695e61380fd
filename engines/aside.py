"""Work that blocks, in a few threads of its owner alone: off the loop, off others' threads.

A third of an executor's price a call: no future of its own, no locks, one callback.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Aside:
    """`await aside(call, …)` runs one call in one of `threads` threads."""

    def __init__(self, threads: int, name: str) -> None:
        self._calls: SimpleQueue[tuple[asyncio.Future[Any], Callable[[], Any]] | None]
        self._calls = SimpleQueue()
        self._is_closed = False
        self._threads = [
            Thread(target=self._work, name=f"{name}-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    async def __call__(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._calls.put((done, partial(call, *args, **kwargs)))
        if self._is_closed:
            done.cancel()
        return await done

    def _work(self) -> None:
        while (waiting := self._calls.get()) is not None:
            done, call = waiting
            if done.cancelled():
                continue
            result, error = None, None
            try:
                result = call()
            except BaseException as failure:
                error = failure
            _tell(done, result, error)

    def close(self) -> None:
        """Blocks until the running calls have ended; those that wait are cancelled. Idempotent."""
        self._is_closed = True
        with suppress(Empty):
            while True:
                if (waiting := self._calls.get_nowait()) is not None:
                    _tell(waiting[0], None, asyncio.CancelledError())
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads:
            thread.join()


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
