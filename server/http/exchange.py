"""One HTTP exchange on raw ASGI: read the body once, answer once, whole or as a stream."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import TypeVar

from server.errors import ApiError, OtherForm, told
from server.http.asgi import Message, Receive, Scope, Send
from server.http.connection import connection_of
from server.http.direct import DirectWriter
from server.http.encoding import decoded_body, too_large
from server.http.exchange_copy import stream_begun
from server.http.request_log import ANSWER_HEADERS

B = TypeVar("B", bytes, bytearray)

_SKIP_S = 2.0
_SKIP_BYTES = 64 * 2**20
_DOUBT_S = 1.0
BODY_STEP_BYTES = 2 * 2**20
"""At 35 kB/s and more, an upload takes as long as it takes."""
JSON = b"application/json"
EVENT_STREAM = b"text/event-stream; charset=utf-8"
_STREAM_HEADERS = [
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class ClientLeft(Exception):
    """The client closed its connection before its request was complete."""


class Exchange:
    """One request and its answer. `headers` go out with the answer, whatever it is."""

    __slots__ = (
        "_blocked_since",
        "_has_more",
        "_last_write",
        "_receive",
        "_send",
        "_unwatch",
        "code",
        "direct",
        "form",
        "headers",
        "record_id",
        "request_id",
        "scope",
        "started",
        "status",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        self.scope = scope
        self._receive = receive
        self._has_more = True
        """Whether its body may not be all here; kept by what reads it in pieces."""
        self._send = send
        self.request_id = request_id
        self.record_id: str | None = None
        """Of its usage record, where that is known before it is made."""
        self.headers: list[tuple[bytes, bytes]] = [
            (b"x-request-id", request_id.encode()),
            *scope.get(ANSWER_HEADERS, ()),
        ]
        self.status = 0
        self.code = ""
        """The code of the error that was its end; "": it had none."""
        self.started = False
        self._last_write = time.monotonic()
        self._blocked_since = 0.0
        self.direct: DirectWriter | None = None
        """The way of an open stream's chunks past `write`; None where there is none."""
        self._unwatch: Callable[[], object] | None = None
        self.form: OtherForm | None = None
        """Where its endpoint is of another API than the service's."""

    def answer_in(self, form: OtherForm) -> None:
        """Whatever it is answered with."""
        self.form = form
        if form.id_header is not None:
            self.headers.append((form.id_header, self.request_id.encode()))

    def header(self, name: bytes) -> bytes | None:
        """The first request header of that lower-case name."""
        for key, value in self.scope["headers"]:
            if key == name:
                return bytes(value)
        return None

    async def body(self, limit: int) -> bytes:
        """The whole request body, decoded. Raises ApiError (413 above `limit` bytes, 415 or 400 for
        its encoding), and ClientLeft. Its time is the connection's to bound."""
        body = await self._raw_body(limit)
        lines = [value for name, value in self.scope["headers"] if name == b"content-encoding"]
        if not lines:
            return body
        encoding = b",".join(lines)
        return await asyncio.to_thread(decoded_body, encoding, body, limit)

    async def _raw_body(self, limit: int) -> bytes:
        declared = self.header(b"content-length")
        if declared is not None and declared.isdigit() and int(declared) > limit:
            await self._skip()
            raise too_large(limit)
        message = await self._next()
        if not message.get("more_body", False):
            body: bytes = message.get("body", b"")
            return await self._checked(body, limit, is_whole=True)
        return await self._rest(message, limit)

    async def _rest(self, message: Message, limit: int) -> bytes:
        body = bytearray(message.get("body", b""))
        while message.get("more_body", False):
            await self._checked(body, limit, is_whole=False)
            message = await self._next()
            body += message.get("body", b"")
        return bytes(await self._checked(body, limit, is_whole=True))

    async def body_in_pieces(self, least_bytes: int) -> AsyncIterator[bytes]:
        """The body as it comes and as it is encoded, in pieces of `least_bytes` and a little more;
        the last may be shorter. Of each BODY_STEP_BYTES it has the time of a whole one.
        Raises ClientLeft."""
        connection = connection_of(self.scope)
        gathered, has_more, unhurried = bytearray(), True, 0
        while has_more:
            message = await self._next()
            has_more = self._has_more = message.get("more_body", False)
            gathered += message.get("body", b"")
            if len(gathered) >= least_bytes or (gathered and not has_more):
                unhurried += len(gathered)
                if unhurried >= BODY_STEP_BYTES and connection is not None:
                    connection.body_goes_on()
                    unhurried = 0
                yield bytes(gathered)
                gathered.clear()

    async def skip_body(self) -> None:
        """Take what is left of it, for a while, before a refusal."""
        if self._has_more:
            await self._skip()

    async def _next(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        return message

    async def _checked(self, body: B, limit: int, *, is_whole: bool) -> B:
        if len(body) > limit:
            if not is_whole:
                await self._skip()
            raise too_large(limit)
        return body

    async def _skip(self) -> None:
        """Take what the client still sends, for a while: to close over unread bytes resets the
        connection, and the refusal is lost (half of 16 MiB bodies on loopback)."""
        left = _SKIP_BYTES
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SKIP_S):
                while left > 0:
                    message = await self._receive()
                    left -= len(message.get("body", b""))
                    if not message.get("more_body", False):
                        self._has_more = False
                        return

    def watch_disconnect(self, left: Callable[[], None]) -> None:
        """Call `left` once if the client goes away before `unwatch`. Needs the body read."""
        connection = connection_of(self.scope)
        if connection is not None:
            connection.watch(left)
            self._unwatch = partial(connection.unwatch, left)
        else:
            self._unwatch = asyncio.ensure_future(self._wait_for_disconnect(left)).cancel

    def unwatch(self) -> None:
        """Stop looking for a disconnect."""
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None

    async def _wait_for_disconnect(self, left: Callable[[], None]) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        left()

    async def reply(
        self, status: int, body: bytes, content_type: bytes = JSON, *, close: bool = False
    ) -> None:
        """A whole answer; returns when the client has taken nearly all of it, or is lost: what it
        does not take counts as its own."""
        self.started = True
        self.status = status
        headers = [
            (b"content-type", content_type),
            (b"content-length", str(len(body)).encode()),
            *self.headers,
        ]
        if close:
            headers.append((b"connection", b"close"))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})
        connection = connection_of(self.scope)
        if connection is not None:
            await connection.drained()

    async def reply_in_pieces(
        self, length: int, pieces: AsyncIterator[bytes], content_type: bytes, patience_s: float
    ) -> None:
        """A whole answer too long to be in memory. A client that takes nothing for so long is
        dropped."""
        self.started, self.status = True, 200
        headers = [
            (b"content-type", content_type),
            (b"content-length", str(length).encode()),
            *self.headers,
        ]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        try:
            async for piece in pieces:
                message = {"type": "http.response.body", "body": piece, "more_body": True}
                await asyncio.wait_for(self._send(message), patience_s)
            await self._send({"type": "http.response.body", "body": b""})
        except TimeoutError:
            self.drop()

    async def fail(self, error: ApiError) -> None:
        """A whole answer that is an error."""
        self.code = error.code
        status, headers, body = told(error, self.form, self.request_id)
        self.headers += [(k.lower().encode(), v.encode()) for k, v in headers.items()]
        await self.reply(status, body, close=status == 413)

    async def open_stream(self, chunk: bytes = b"", media_type: bytes = EVENT_STREAM) -> None:
        """Send the headers of a stream, with its first piece."""
        self.started = True
        self.status = 200
        self._last_write = time.monotonic()
        headers = [(b"content-type", media_type), *_STREAM_HEADERS, *self.headers]
        connection = connection_of(self.scope)
        if connection is not None and connection.writes_directly:
            self.direct = stream_begun(self._send, headers, chunk)
        if self.direct is None:
            head = {"type": "http.response.start", "status": 200, "headers": headers}
            await self._send(head)
            if chunk:
                await self.write(chunk)

    async def write_soon(self, chunk: bytes) -> None:
        """Send a piece of an open stream; suspends only where the client does not keep up."""
        if not self.write_now(chunk):
            await self.write(chunk)

    def write_now(self, chunk: bytes) -> bool:
        """Whether a piece of an open stream could be sent without waiting."""
        if self.direct is None or not self.direct.is_ready():
            return False
        self.direct.write(chunk)
        return True

    async def write(self, chunk: bytes, *, more: bool = True) -> None:
        """Send a piece of the stream; returns when the transport has taken it."""
        self._blocked_since = self._last_write = time.monotonic()
        if self.direct is not None and not more:
            self.direct.expect_end(len(chunk))
        await self._send({"type": "http.response.body", "body": chunk, "more_body": more})
        self._blocked_since = 0.0

    def silent_s(self, now: float) -> float:
        """Seconds since the last piece, to be asked at intervals: a piece costs no look at the
        clock, and counts from the next time that this is asked."""
        if self.direct is not None and self.direct.has_written:
            self.direct.has_written, self._last_write = False, now
        return now - self._last_write

    def is_silent(self, now: float, patience_s: float) -> bool:
        """Whether nothing was sent for so long. A client of an open stream that has ended its own
        side may be gone, and only a piece of the stream tells."""
        if (silent_s := self.silent_s(now)) <= min(patience_s, _DOUBT_S):
            return False
        connection = connection_of(self.scope) if self.started else None
        is_doubted = connection is not None and connection.is_half_closed
        return is_doubted or silent_s > patience_s

    def blocked_s(self, now: float) -> float:
        """Seconds since when the client has taken nothing of a waiting write; 0 when none waits."""
        return now - self._blocked_since if self._blocked_since else 0.0

    def drop(self) -> None:
        """Cut the connection without flushing: for a client that has stopped reading."""
        connection = connection_of(self.scope)
        if connection is not None:
            connection.cut()
