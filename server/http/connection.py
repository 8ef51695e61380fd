"""One HTTP connection: uvicorn's, with a bound on every wait for its client, and our error body.

| it waits for | at most | then |
|---|---|---|
| a request's head, from the connection's or the head's first byte | HEADERS_TIMEOUT_S | it is cut |
| the rest of a body, from the end of the head | BODY_TIMEOUT_S | it is cut |
| the next request on an idle connection | uvicorn's keep-alive time | it is closed |
| a head's end, or more of a body: HEADERS_BYTES without either | - | it is refused |
| the client to take a complete answer | 2 send_timeout_s for a byte, 11 for all | it is cut |
| the client to take a piece of a stream | send_timeout_s (requests/answer) | it is cut |
| a client that is gone without a word | TCP keep-alive | it is lost |
| a client that has ended its own side, and is gone | half_close | it is lost |
| TLS: the end of a handshake | HANDSHAKE_TIMEOUT_S (listener) | it is cut, nobody has seen it |
| TLS: the client's word that it has seen the end | as for a complete answer | it is cut |
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from server.errors import ApiError
from server.http.asgi import Scope
from server.http.awaited import Awaited
from server.http.direct import missing_fields
from server.http.early_refusal import refusal_bytes
from server.http.half_close import HalfClose
from server.http.tcp_keep_alive import keep_alive
from server.ids import new_id

HEADERS_BYTES = 64 * 1024
HEADERS_TIMEOUT_S = 20.0
MOST_PIPELINED = 64
"""Requests that wait behind one that is being answered: each takes thirty times its bytes."""
BODY_TIMEOUT_S = 60.0
"""A slot of the request's key waits for it."""
SEND_TIMEOUT_S = 30.0
"""Where the lifespan's state says nothing else."""
SEND_LOOKS = 10
_GOODBYE_S = 0.5
_NOT_PASSED_ON = frozenset({b"upgrade", b"http2-settings"})

CONNECTION = "fjord.connection"
"""The scope's key of the Connection that a request came on."""
SEND_TIMEOUT = "send_timeout_s"
WRITES_DIRECTLY = "writes_directly"
"""Keys of the lifespan's state."""

log = logging.getLogger("fjord.http")


def connection_state(send_timeout_s: float) -> dict[str, Any]:
    """What connections know of the server: the lifespan's state. uvicorn's own fields are looked
    at here, once a start."""
    missing = missing_fields()
    if missing:
        names, version = ", ".join(sorted(missing)), uvicorn.__version__
        log.warning("uvicorn %s has no %s: streams take its documented way", version, names)
    return {SEND_TIMEOUT: send_timeout_s, WRITES_DIRECTLY: not missing}


def connection_of(scope: Scope) -> "Connection | None":
    """The open connection of a request; None where it is another server's, or already lost."""
    connection: Connection | None = scope.get(CONNECTION)
    return connection if connection is not None and connection.is_open else None


class _TooManyRequests(Exception):
    """The parser ends with it."""


class Connection(HttpToolsProtocol):
    """A client must send what it began in time, and take what it asked for."""

    is_open = False
    _awaited = _timed = Awaited.NOTHING
    _deadline: asyncio.TimerHandle | None = None
    _header_bytes = 0
    """Of a head, or since the last piece of a body: trailers, and what is beside a chunk's size."""
    _lost: Callable[[], None] | None = None
    _flush: asyncio.TimerHandle | None = None
    _untaken: tuple[int, int] | None = None
    """Bytes of a complete answer that waited at the last look, and how many looks there were."""
    _half_close: HalfClose | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.is_open = True
        keep_alive(transport)
        self._awaited = Awaited.HEAD
        self._bound_the_wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        self._awaited = Awaited.NOTHING
        self._bound_the_wait()
        if self._flush is not None:
            self._flush.cancel()
        if self._half_close is not None:
            self._half_close.stop()
        super().connection_lost(exc)
        lost, self._lost = self._lost, None
        if lost is not None:
            lost()

    @property
    def is_half_closed(self) -> bool:
        """The client has ended its side; it may be gone."""
        return self._half_close is not None

    @property
    def writes_directly(self) -> bool:
        """Whether uvicorn has all the fields that direct.py needs."""
        return bool(self.app_state.get(WRITES_DIRECTLY, True))

    def watch(self, lost: Callable[[], None]) -> None:
        """Call `lost` once when the client goes away. No task has to wait for it."""
        self._lost = lost
        self.flow.resume_reading()  # a long body may have paused it, and then nothing is seen

    def unwatch(self, lost: Callable[[], None]) -> None:
        """No longer call `lost`; the next request's watch stays."""
        if self._lost is lost:
            self._lost = None

    def cut(self) -> None:
        """Close it without flushing."""
        self.transport.abort()

    def shutdown(self) -> None:
        """The server ends. An idle client need not end TLS: it looks when it next sends."""
        super().shutdown()
        if self.scheme == "https" and not self._is_answering():
            self.loop.call_later(_GOODBYE_S, self.cut)

    async def drained(self) -> None:
        """Return when the transport holds little that the client has not taken, or it is lost."""
        await self.flow.drain()

    # What comes in

    def data_received(self, data: bytes) -> None:
        if self.timeout_keep_alive_task is not None and self._awaited is Awaited.NOTHING:
            self._awaited = Awaited.HEAD  # whatever it is: the idle time is over
        self._header_bytes += len(data)
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._stay_in_http1(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("")
        if self._awaited is not Awaited.NOTHING and self._header_bytes > HEADERS_BYTES:
            message = f"The request's headers are longer than {HEADERS_BYTES} bytes."
            self._refuse(ApiError(431, "REQUEST_TOO_LARGE", message))
        self._bound_the_wait()

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client sends no more: whether it still gets the answers to what it has sent. In TLS,
        as event loops have it, it gets none: there is no half of a connection."""
        if self.scheme == "https" and self._is_answering():
            self.cut()
        if self.scheme == "https" or not self._is_answering() or self.cycle.more_body:
            return False
        self._awaited = Awaited.NOTHING
        self._bound_the_wait()
        self.cycle.keep_alive = False
        if self._half_close is None:
            self._half_close = HalfClose(self.transport, self._may_ask)
        return True

    def _may_ask(self) -> bool:
        is_unanswered = not (self.pipeline or self.cycle.response_started)
        return is_unanswered and self.cycle.scope["http_version"] != "1.0"

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope[CONNECTION] = self  # type: ignore[literal-required]
        self._awaited = Awaited.HEAD

    def on_headers_complete(self) -> None:
        self._header_bytes = 0
        self._awaited = Awaited.BODY
        if len(self.pipeline) >= MOST_PIPELINED:
            raise _TooManyRequests
        if not self.parser.should_upgrade():
            super().on_headers_complete()
            self.headers = []  # what comes now are trailers: no part of the request's head

    def on_body(self, body: bytes) -> None:
        self._header_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            # A body that outlasted its answer: uvicorn counts no idle time after it.
            self._awaited = Awaited.NOTHING if self._is_answering() else Awaited.HEAD
            self._header_bytes = 0
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        is_full = len(self.pipeline) >= MOST_PIPELINED
        what = f"{MOST_PIPELINED} requests wait on this connection" if is_full else "It is no HTTP"
        self._refuse(ApiError.invalid(f"The request is not valid: {what}.", None, None, "HTTP/1.1"))

    def _stay_in_http1(self, rest: bytes) -> None:
        """The protocol that the client offers (h2c: the JDK's client does) is not taken: its
        request goes on as if it had not asked. The parser itself would take no body."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            self.send_400_response("")
            return
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (method, self.url, version)]
        lines += [b"%b: %b" % pair for pair in self.headers if pair[0] not in _NOT_PASSED_ON]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.data_received(b"\r\n".join(lines) + b"\r\n\r\n" + rest)

    def _refuse(self, error: ApiError) -> None:
        """Before there is a request that could be answered."""
        self._awaited = Awaited.NOTHING
        if self._is_answering() and self.cycle.response_started:
            self.transport.abort()  # in the middle of an answer there is no place for another
            return
        request_id = "req_" + new_id(24)
        log.info("request %s refused: %d %s", request_id, error.status, error.message)
        self.transport.write(refusal_bytes(error, request_id))
        self.transport.close()
        self._bound_the_flush()

    # Bounds

    def _bound_the_wait(self) -> None:
        """Of what it waits for since a moment ago; bytes that come buy no more time."""
        if self._awaited is self._timed:
            return
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self._timed = self._awaited
        if self._timed is not Awaited.NOTHING:
            patience_s = HEADERS_TIMEOUT_S if self._timed is Awaited.HEAD else BODY_TIMEOUT_S
            self._deadline = self.loop.call_later(patience_s, self._too_slow, patience_s)

    def body_goes_on(self) -> None:
        """A body that is taken piece by piece gets its time anew."""
        self._timed = Awaited.NOTHING
        self._bound_the_wait()

    def _too_slow(self, patience_s: float) -> None:
        if self.transport.is_reading():
            self.transport.abort()
        else:  # the server has not come to it: an earlier request is being answered
            self._deadline = self.loop.call_later(patience_s, self._too_slow, patience_s)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.pipeline:  # uvicorn reads on behind each answer, whatever waits already
            self.flow.pause_reading()
        self._bound_the_flush()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._bound_the_flush()  # in TLS it is not lost before its client has said so

    def _bound_the_flush(self) -> None:
        """One timer a connection, not one an answer: a later answer only begins the count anew."""
        self._untaken = None
        if self._flush is None:
            self._look_later()

    def _look_later(self) -> None:
        patience_s = self.app_state.get(SEND_TIMEOUT, SEND_TIMEOUT_S)
        self._flush = self.loop.call_later(patience_s, self._look_at_the_flush)

    def _look_at_the_flush(self) -> None:
        self._flush = None
        waiting = self.transport.get_write_buffer_size()
        if self._is_answering() or not (waiting or self.transport.is_closing()):
            return
        before, looks = self._untaken or (waiting + 1, 0)
        if waiting >= before or looks >= SEND_LOOKS:
            self.transport.abort()
        else:
            self._untaken = waiting, looks + 1
            self._look_later()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete
