"""Looks at a server as server-sent events."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Final

from starlette.responses import Response

from server.http.asgi import Receive, Scope, Send
from server.http.exchange import Exchange
from server.http.request_log import line_of

BEGINNING: Final = b"retry: 3000\n\n"
HEARTBEAT: Final = b": waiting\n\n"


def event(name: str, data: str) -> bytes:
    """`data` is one line."""
    return f"event: {name}\ndata: {data}\n\n".encode()


class EventStream(Response):
    """Sends pieces as they come. A client that leaves ends it; one that takes nothing for
    `patience_s` is dropped."""

    def __init__(self, pieces: AsyncGenerator[bytes, None], patience_s: float) -> None:
        self._pieces, self._patience_s = pieces, patience_s
        super().__init__(media_type="text/event-stream")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send, line_of(scope).request_id)
        sending = asyncio.ensure_future(self._send_all(exchange))
        exchange.watch_disconnect(partial(_end, sending))
        try:
            await asyncio.wait([sending])
        finally:
            sending.cancel()
            exchange.unwatch()
        if not sending.cancelled():
            sending.result()

    async def _send_all(self, exchange: Exchange) -> None:
        try:
            await exchange.open_stream(BEGINNING)
            async with aclosing(self._pieces) as pieces:
                async for piece in pieces:
                    async with asyncio.timeout(self._patience_s):  # wait_for may lose a cancel
                        await exchange.write(piece)
            await exchange.write(b"", more=False)
        except TimeoutError:
            exchange.drop()


def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
