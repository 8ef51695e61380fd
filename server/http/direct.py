"""A stream's way past ASGI's `send`, through fields of uvicorn's that it does not document."""

import asyncio
import sys
from collections.abc import Iterable
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

CYCLE_FIELDS = frozenset(
    {
        "chunked_encoding",
        "default_headers",
        "disconnected",
        "expected_content_length",
        "flow",
        "keep_alive",
        "response_started",
        "scope",
        "transport",
        "waiting_for_100_continue",
    }
)
FLOW_FIELDS = frozenset({"write_paused"})
_CHUNK = b"%x\r\n%b\r\n"
"""Of a chunk in HTTP/1.1: its length, itself."""


def missing_fields() -> frozenset[str]:
    """Those that this uvicorn lacks; with one missing, every stream takes ASGI's `send`."""
    try:
        cycle = _unused_cycle()
    except TypeError:  # it is made of other parts
        return CYCLE_FIELDS | FLOW_FIELDS
    cycle_lacks = {name for name in CYCLE_FIELDS if not hasattr(cycle, name)}
    flow = getattr(cycle, "flow", None)
    return frozenset(cycle_lacks | {name for name in FLOW_FIELDS if not hasattr(flow, name)})


def _unused_cycle() -> RequestResponseCycle:
    none: Any = None
    transport = asyncio.Transport()
    return RequestResponseCycle(
        scope=none,
        transport=transport,
        flow=FlowControl(transport),
        logger=none,
        access_logger=none,
        access_log=False,
        default_headers=[],
        message_event=none,
        expect_100_continue=False,
        keep_alive=True,
        on_response=none,
    )


class DirectWriter:
    """Writes an open stream's chunks: no coroutine and no dict a chunk (3 of 25 µs a token)."""

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
        self._write(_CHUNK % (len(chunk), chunk))

    def expect_end(self, length: int) -> None:
        """The last piece comes next, through `send`."""


class UnframedWriter(DirectWriter):
    """For HTTP/1.0, which knows no chunks: the end of the connection ends the stream."""

    __slots__ = ()

    def write(self, chunk: bytes) -> None:
        self.has_written = True
        self._write(chunk)

    def expect_end(self, length: int) -> None:
        self._cycle.expected_content_length = length


def begin_stream(
    send: Any, headers: Iterable[tuple[bytes, bytes]], chunk: bytes
) -> DirectWriter | None:
    """Write the head of an event stream with its first chunk, where `send` is uvicorn's; else, or
    where the client does not keep up, None. `send` itself would write twice, each a call into the
    kernel that wakes the client, and look through every header."""
    cycle = getattr(send, "__self__", None)
    if not isinstance(cycle, RequestResponseCycle) or cycle.response_started:
        return None
    if cycle.flow.write_paused or cycle.disconnected:
        return None
    is_chunked = cycle.scope["http_version"] != "1.0"
    cycle.response_started, cycle.chunked_encoding = True, is_chunked
    cycle.waiting_for_100_continue = False
    lines = [b"%b: %b\r\n" % header for header in (*cycle.default_headers, *headers)]
    if not cycle.keep_alive:
        lines.append(b"connection: close\r\n")
    if is_chunked:
        lines.append(b"transfer-encoding: chunked\r\n")
        first = _CHUNK % (len(chunk), chunk) if chunk else b""
    else:
        cycle.expected_content_length = sys.maxsize
        first = chunk
    cycle.transport.write(b"HTTP/1.1 200 OK\r\n" + b"".join(lines) + b"\r\n" + first)
    return DirectWriter(cycle) if is_chunked else UnframedWriter(cycle)
