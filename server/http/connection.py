"""One HTTP connection: uvicorn's, with bounds on the headers' size and time, and our error body."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from server.errors import ApiError

HEADERS_BYTES = 64 * 1024
HEADERS_TIMEOUT_S = 20.0
_FRAME = b"%x\r\n%b\r\n"
"""Of a chunk in HTTP/1.1: its length, itself."""


class DirectWriter:
    """A way past ASGI for the chunks of an open stream: no coroutine and no dict a chunk (3 of 25
    µs a token)."""

    __slots__ = ("_cycle", "_flow", "_write", "has_written")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._flow = cycle.flow
        self._write = cycle.transport.write
        self.has_written = False
        """For its owner to take back."""

    def is_ready(self) -> bool:
        """False where the client does not keep up or has left; then `send` knows what to do."""
        return not (self._flow.write_paused or self._cycle.disconnected)

    def write(self, chunk: bytes) -> None:
        """Only while it is ready."""
        self.has_written = True
        self._write(_FRAME % (len(chunk), chunk))


def direct_writer(send: Any) -> DirectWriter | None:
    """The open stream's own, where `send` is uvicorn's and its answer is chunked."""
    cycle = getattr(send, "__self__", None)
    if not isinstance(cycle, RequestResponseCycle) or not cycle.chunked_encoding:
        return None
    return DirectWriter(cycle)


def begin_stream(send: Any, headers: Iterable[tuple[bytes, bytes]], chunk: bytes) -> bool:
    """Write the head of an event stream with its first chunk, where `send` is uvicorn's; else, or
    where the client does not keep up, False. `send` itself would write twice, each a call into the
    kernel that wakes the client, and look through every header."""
    cycle = getattr(send, "__self__", None)
    if not isinstance(cycle, RequestResponseCycle) or cycle.response_started:
        return False
    if cycle.flow.write_paused or cycle.disconnected:
        return False
    cycle.response_started = cycle.chunked_encoding = True
    cycle.waiting_for_100_continue = False
    lines = [b"%b: %b\r\n" % header for header in (*cycle.default_headers, *headers)]
    if not cycle.keep_alive:
        lines.append(b"connection: close\r\n")
    head = b"HTTP/1.1 200 OK\r\n" + b"".join(lines) + b"transfer-encoding: chunked\r\n\r\n"
    cycle.transport.write(head + (_FRAME % (len(chunk), chunk) if chunk else b""))
    return True


def connection_of(send: Any) -> "Connection | None":
    """The open connection of uvicorn's `send`; None where it is another's, or already lost."""
    cycle = getattr(send, "__self__", None)
    if not isinstance(cycle, RequestResponseCycle) or cycle.disconnected:
        return None
    protocol = cycle.transport.get_protocol()
    return protocol if isinstance(protocol, Connection) else None


def cut_connection(send: Any) -> None:
    """Close the connection of uvicorn's `send` without flushing."""
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is not None:
        transport.abort()


class Connection(HttpToolsProtocol):
    """A client that opens a connection must send a request's headers in time, and few enough."""

    _deadline: asyncio.TimerHandle | None = None
    _header_bytes = 0
    _lost: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._headers_came()
        super().connection_lost(exc)
        lost, self._lost = self._lost, None
        if lost is not None:
            lost()

    def watch(self, lost: Callable[[], None]) -> None:
        """Call `lost` once when the client goes away. No task has to wait for it."""
        self._lost = lost
        self.flow.resume_reading()  # a long body may have paused it, and then nothing is seen

    def unwatch(self, lost: Callable[[], None]) -> None:
        """No longer call `lost`; the next request's watch stays."""
        if self._lost is lost:
            self._lost = None

    def data_received(self, data: bytes) -> None:
        if self._deadline is not None:
            self._header_bytes += len(data)
        super().data_received(data)
        if self._deadline is not None and self._header_bytes > HEADERS_BYTES:
            self._headers_came()
            message = f"The request's headers are longer than {HEADERS_BYTES} bytes."
            self._refuse(ApiError(431, "REQUEST_TOO_LARGE", message))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._deadline is None:
            self._expect_headers()

    def on_headers_complete(self) -> None:
        self._headers_came()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(ApiError.invalid("The request is not valid HTTP.", None, None, "HTTP/1.1"))

    def _expect_headers(self) -> None:
        self._header_bytes = 0
        self._deadline = self.loop.call_later(HEADERS_TIMEOUT_S, self._too_slow)

    def _headers_came(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        self.transport.abort()

    def _refuse(self, error: ApiError) -> None:
        body = error.encoded()
        head = (
            f"HTTP/1.1 {error.status} {'Bad Request' if error.status == 400 else 'Too Large'}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
            "connection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
