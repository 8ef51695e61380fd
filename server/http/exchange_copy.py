"""What goes over the wire of one request, copied as it passes: the beginnings of both ways."""

import time
from collections.abc import Sequence

from server.http.asgi import Message, Receive, Send
from server.http.direct import DirectWriter, begin_stream


class WireCopy:
    """The first bytes of one direction."""

    __slots__ = ("content", "has_ended", "length", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        self.content = bytearray()
        self.length = 0
        """Of all of it that came."""
        self.has_ended = False

    @property
    def is_cut(self) -> bool:
        """It was longer, or its end never came: who sent or read it has left."""
        return self.length > len(self.content) or bool(self.length and not self.has_ended)

    def take(self, piece: bytes, *, is_last: bool = False) -> None:
        self.length += len(piece)
        self.content += piece[: self.most - len(self.content)]
        self.has_ended = is_last


class CopiedWriter(DirectWriter):
    """Another's way, with a copy."""

    __slots__ = ("_copy", "_writer")

    def __init__(self, writer: DirectWriter, copy: WireCopy) -> None:
        self._writer = writer
        self._copy = copy
        self.has_written = False

    def is_ready(self) -> bool:
        return self._writer.is_ready()

    def write(self, chunk: bytes) -> None:
        self.has_written = True
        self._copy.take(chunk)
        self._writer.write(chunk)

    def expect_end(self, length: int) -> None:
        self._writer.expect_end(length)


class ExchangeCopy:
    """Stands between an exchange and its server."""

    def __init__(self, receive: Receive, send: Send, most_body: int, most_answer: int) -> None:
        self._receive = receive
        self._send = send
        self.body = WireCopy(most_body)
        self.answer = WireCopy(most_answer)
        self.content_type = b""
        """Of the answer."""
        self.began_at = time.monotonic()

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self.body.take(message.get("body", b""), is_last=not message.get("more_body"))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.content_type = dict(message["headers"]).get(b"content-type", b"")
        elif message["type"] == "http.response.body":
            self.answer.take(message.get("body", b""), is_last=not message.get("more_body"))
        await self._send(message)

    def begin_stream(
        self, headers: Sequence[tuple[bytes, bytes]], chunk: bytes
    ) -> DirectWriter | None:
        """As that of the `send` behind it."""
        writer = begin_stream(self._send, headers, chunk)
        if writer is None:
            return None
        self.content_type = dict(headers).get(b"content-type", b"")
        self.answer.take(chunk)
        return CopiedWriter(writer, self.answer)


def stream_begun(
    send: Send, headers: Sequence[tuple[bytes, bytes]], chunk: bytes
) -> DirectWriter | None:
    """As `begin_stream`, of a `send` that may be copied."""
    copy = getattr(send, "__self__", None)
    if isinstance(copy, ExchangeCopy):
        return copy.begin_stream(headers, chunk)
    return begin_stream(send, headers, chunk)
