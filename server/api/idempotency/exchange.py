"""The exchange of a request that may outlive its client, and how clients get what it answers."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from server.api.idempotency.errors import given_up, no_answer
from server.api.idempotency.recording import RecordedAnswer
from server.http.asgi import Message
from server.http.connection import CONNECTION
from server.http.exchange import Exchange

REPLAYED: Final = (b"idempotency-replayed", b"true")
_OF_THE_BODY: Final = frozenset({b"content-encoding", b"content-length", b"transfer-encoding"})
_OF_THE_ANSWER: Final = frozenset(
    {b"content-type", b"content-length", b"cache-control", b"x-accel-buffering", b"connection"}
)


class KeyedExchange(Exchange):
    """Its body is here, its answer is recorded, and no client of it can leave."""

    __slots__ = ("_body",)

    def __init__(self, exchange: Exchange, recording: RecordedAnswer, body: bytes) -> None:
        scope = {k: v for k, v in exchange.scope.items() if k != CONNECTION}
        scope["headers"] = [pair for pair in scope["headers"] if pair[0] not in _OF_THE_BODY]
        super().__init__(scope, self._receive_body, recording.take, exchange.request_id)
        self.headers = []
        self.form = exchange.form
        self.record_id = exchange.record_id
        self._body: bytes | None = body

    async def _receive_body(self) -> Message:
        body, self._body = self._body, None
        if body is None:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": body, "more_body": False}

    def watch_disconnect(self, left: Callable[[], None]) -> None:
        """Nobody leaves."""

    def unwatch(self) -> None:
        """Nobody watches."""


async def follow(
    recording: RecordedAnswer, exchange: Exchange, patience_s: float, again: bool
) -> None:
    """Answer `exchange` with what is recorded, from its beginning, as it comes. `again`: it is not
    the request that the answer was made for. A client that takes nothing for so long is dropped."""
    await recording.begun()
    if not recording.status:
        await exchange.fail(given_up())
        return
    exchange.code = recording.code
    own = {name for name, _ in exchange.headers} | _OF_THE_ANSWER
    exchange.headers += [pair for pair in recording.headers if pair[0] not in own]
    if again and recording.status < 300:
        exchange.headers.append(REPLAYED)
    await (_stream if recording.is_stream else _whole)(recording, exchange, patience_s)
    exchange.code = recording.code


async def _whole(recording: RecordedAnswer, exchange: Exchange, patience_s: float) -> None:
    body = b"".join([piece async for piece in recording.pieces()])
    if not recording.is_over:
        await exchange.fail(given_up())
        return
    is_last = recording.status == 413
    await exchange.reply(recording.status, body, recording.media_type, close=is_last)


async def _stream(recording: RecordedAnswer, exchange: Exchange, patience_s: float) -> None:
    async for piece in recording.pieces():
        if not await _sent(_next(exchange, recording, piece), exchange, patience_s):
            return
    if not exchange.started:  # its beginning is gone, or it was ended before
        await exchange.fail(given_up() if recording.is_whole else no_answer())
        return
    if not recording.is_over:
        exchange.drop()
        return
    await _sent(exchange.write(b"", more=False), exchange, patience_s)


async def _next(exchange: Exchange, recording: RecordedAnswer, piece: bytes) -> None:
    if exchange.started:
        await exchange.write(piece)
    else:
        await exchange.open_stream(piece, recording.media_type)


async def _sent(sending: Awaitable[Any], exchange: Exchange, patience_s: float) -> bool:
    try:
        await asyncio.wait_for(sending, patience_s)
    except TimeoutError:
        exchange.drop()
        return False
    return True
