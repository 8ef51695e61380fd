"""Work for weights in a daemon thread: one that is given up must not keep the process."""

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Callable
from pathlib import Path

from engines.host.child_job import Progress


class _Abandoned(Exception):
    """Nobody waits for these weights any more."""


def in_background(
    work: Callable[[Progress], Path], told: Progress, name: str
) -> asyncio.Future[Path]:
    """`told` is called on the event loop. Cancelled, the work ends at its next report."""
    loop = asyncio.get_running_loop()
    resolved: concurrent.futures.Future[Path] = concurrent.futures.Future()

    def report(what: str, done: int | None, total: int | None) -> None:
        if resolved.cancelled():
            raise _Abandoned
        loop.call_soon_threadsafe(told, what, done, total)

    def run() -> None:
        with contextlib.suppress(concurrent.futures.InvalidStateError):  # given up
            try:
                resolved.set_result(work(report))
            except Exception as error:
                resolved.set_exception(error)

    threading.Thread(target=run, daemon=True, name=name).start()
    return asyncio.wrap_future(resolved)
