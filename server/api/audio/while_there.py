"""Work for a request before it has an engine: no longer than its client, and its deadline."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from server.http.exchange import ClientLeft, Exchange
from server.requests.outcomes import cut_error

T = TypeVar("T")


async def while_there(exchange: Exchange, deadline: float, work: Coroutine[Any, Any, T]) -> T:
    """What `work` gives; it is cancelled where its client leaves, or `deadline` (time.monotonic())
    passes. Raises ClientLeft, ApiError 504, and what it raises. Needs the body read."""
    task = asyncio.ensure_future(work)
    has_left = asyncio.Event()

    def left() -> None:
        has_left.set()
        task.cancel()

    exchange.watch_disconnect(left)
    try:
        async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
            return await task
    except TimeoutError:
        raise cut_error("timed_out") from None
    except asyncio.CancelledError:
        if has_left.is_set():
            raise ClientLeft from None
        raise
    finally:
        exchange.unwatch()
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
