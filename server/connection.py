"""One HTTP connection: uvicorn's, with bounds on the headers' size and time, and our error body."""

import asyncio
from collections.abc import Callable, MutableMapping
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from server.errors import ApiError

HEADERS_BYTES = 64 * 1024
HEADERS_TIMEOUT_S = 20.0


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
        self._write(b"%x\r\n%b\r\n" % (len(chunk), chunk))


def direct_writer(send: Any) -> DirectWriter | None:
    """The open stream's own, where `send` is uvicorn's and its answer is chunked."""
    cycle = getattr(send, "__self__", None)
    if not isinstance(cycle, RequestResponseCycle) or not cycle.chunked_encoding:
        return None
    return DirectWriter(cycle)


class _Gathered:
    """Stands in for a transport, and keeps what it is given."""

    __slots__ = ("data",)

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data


async def send_together(send: Any, head: MutableMapping[str, Any], chunk: bytes) -> None:
    """The head of an event stream and its first chunk, in one write where `send` is uvicorn's: a
    write is a call into the kernel, and wakes the client."""
    cycle = getattr(send, "__self__", None)
    if not isinstance(cycle, RequestResponseCycle) or cycle.flow.write_paused or not chunk:
        await send(head)
        if chunk:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        return
    transport, gathered = cycle.transport, _Gathered()
    cycle.transport = gathered  # type: ignore[assignment]
    try:
        await send(head)  # does not suspend: nothing is paused
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    finally:
        cycle.transport = transport
    if gathered.data:
        transport.write(gathered.data)


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
