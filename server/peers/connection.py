"""One HTTP/1.1 connection to a node, one exchange at a time."""

import asyncio
import os
import socket
import ssl
from typing import Any, Final, Protocol, cast
from urllib.parse import urlsplit

import httptools

from engines.host.tcp import keep_alive

CONNECT_S: Final = 3.0
_OPTIONS: Final = {
    **{"TCP_KEEPIDLE": 4, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 3},
    "TCP_USER_TIMEOUT": 8_000,
}
"""What was sent and is not acknowledged for so long (ms) ends the connection: a cut cable."""


class AnswerReader(Protocol):
    """Who reads an answer; all of it is called on the event loop, and must not block."""

    def begun(self, status: int) -> None: ...
    def came(self, data: bytes) -> None: ...
    def ended(self) -> None:
        """The answer is whole."""

    def lost(self, is_untouched: bool) -> None:
        """The connection is gone before that. `is_untouched`: nothing of an answer had come."""


class PeerConnection(asyncio.Protocol):
    def __init__(self) -> None:
        self.exchanges = 0
        self.idle_since = 0.0
        self._transport: asyncio.Transport | None = None
        self._parser: Any = None
        self._reading: AnswerReader | None = None
        self._has_answer = False
        self.is_open = False

    def send(self, head: bytes, body: bytes, reading: AnswerReader) -> None:
        """Only while it is open and idle."""
        assert self._transport is not None
        self.exchanges += 1
        self._reading, self._has_answer = reading, False
        self._parser = httptools.HttpResponseParser(self)
        self._transport.write(head + body)

    def write_piece(self, piece: bytes) -> None:
        """More of a body that was begun without a length."""
        if self._transport is not None:
            self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))

    def close(self) -> None:
        """At once; whoever reads is told nothing more."""
        self._reading = None
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    # asyncio's

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self.is_open = cast(asyncio.Transport, transport), True
        keep_alive(transport, _OPTIONS)

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            self.close()  # what nobody asked for
            return
        self._has_answer = True
        try:
            self._parser.feed_data(data)
        except Exception:  # no HTTP, or what its reader made of it
            self._fail()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail()

    def _fail(self) -> None:
        reading, self._reading = self._reading, None
        self.close()
        if reading is not None:
            reading.lost(not self._has_answer)

    # httptools'

    def on_headers_complete(self) -> None:
        if self._reading is not None:
            self._reading.begun(self._parser.get_status_code())

    def on_body(self, data: bytes) -> None:
        if self._reading is not None:
            self._reading.came(data)

    def on_message_complete(self) -> None:
        reading, self._reading = self._reading, None
        if not self._parser.should_keep_alive():
            self.close()
        self._parser = None
        if reading is not None:
            reading.ended()


def unreached(error: Exception) -> str:
    """Why, in words without an address."""
    match error:
        case ssl.SSLCertVerificationError():
            return (
                f"its certificate is not trusted here ({error.verify_message}); SSL_CERT_FILE "
                "may name who signed it"
            )
        case ssl.SSLError():
            return "it does not speak TLS as its address says"
        case TimeoutError():
            return "it does not answer"
        case socket.gaierror():
            return "its name is not known here"
        case OSError(errno=int() as number):
            return os.strerror(number)
    return "the connection was lost"


async def connected(address: str) -> PeerConnection:
    """Raises OSError, TimeoutError."""
    parts = urlsplit(address)
    is_tls = parts.scheme == "https"
    trusted = await _trust.context() if is_tls else None
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_S):
            _, connection = await loop.create_connection(
                PeerConnection,
                parts.hostname or "",
                parts.port or (443 if is_tls else 80),
                ssl=trusted,
            )
    except ssl.SSLCertVerificationError:
        _trust.forget()
        raise
    return connection


class _Trust:
    """Whose certificates are trusted here. To read them takes 170 ms, so it is done in a thread and
    once, and again after a certificate that was not trusted: the file may be another by now."""

    def __init__(self) -> None:
        self._known: ssl.SSLContext | None = None

    async def context(self) -> ssl.SSLContext:
        if self._known is None:
            self._known = await asyncio.to_thread(ssl.create_default_context)
        return self._known

    def forget(self) -> None:
        self._known = None


_trust: Final = _Trust()
