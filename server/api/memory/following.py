"""A kept response's events, told again from any number on: those that are there, then those to
come."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

from server.api.responses.asked import asked
from server.api.services import Services
from server.errors import ApiError
from server.http.exchange import Exchange
from server.memory.memory import Memory
from server.memory.response_rows import EVENT_END, KeptResponse
from server.requests.comments import WAITING

POLL_S: Final = 0.5
"""Another node's response is looked at so often."""


async def tell_events(
    exchange: Exchange, events: AsyncIterator[bytes], services: Services, endpoint: str
) -> None:
    """Until they end, the client leaves or takes nothing, or its time is over: it may come back."""
    settings, has_left = services.settings, asyncio.Event()
    deadline = time.monotonic() + settings.request_timeout_s
    exchange.watch_disconnect(has_left.set)
    services.metrics.answered("", endpoint, 200)
    try:
        await exchange.open_stream()
        with suppress(ApiError):  # it was deleted: what there was has been told
            async for piece in events:
                if has_left.is_set() or time.monotonic() > deadline:
                    break
                await asyncio.wait_for(exchange.write(piece or WAITING), settings.send_timeout_s)
        await exchange.write(b"", more=False)
    except TimeoutError:
        exchange.drop()
    finally:
        exchange.unwatch()


async def kept_events(
    memory: Memory, response_id: str, owner: str, number: int, patience_s: float
) -> AsyncIterator[bytes]:
    """As EventLog.follow, of what is in the memory. Raises ApiError where it goes meanwhile."""
    silent_s = 0.0
    while True:
        kept = await asked(memory.find, response_id, owner)
        while news := await asked(memory.responses.events_from, response_id, owner, number):
            number, silent_s = number + news.count(EVENT_END), 0.0
            yield news
        if kept.is_over:
            return
        silent_s += POLL_S
        if silent_s > patience_s:
            silent_s = 0.0
            yield b""
        await asyncio.sleep(POLL_S)


async def when_over(
    memory: Memory, response_id: str, owner: str, patience_s: float
) -> KeptResponse:
    """A response that another process runs, as it stands once it is over or after a while."""
    deadline = time.monotonic() + patience_s
    while True:
        kept = await asked(memory.find, response_id, owner)
        if kept.is_over or time.monotonic() > deadline:
            return kept
        await asyncio.sleep(POLL_S)
