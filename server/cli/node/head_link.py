"""A node's end of its link: one HTTP/1.1 request whose body and answer are open at once."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import urlsplit

import httptools

from engines.joined.wire import LOST_S, MOST_LINE, Hello, MessageLines, Said, line_of_message
from server import __version__
from server.cli.link import Link

PATH: Final = "/internal/v1/join"
OPEN_S: Final = 10.0
_PIECE: Final = 64 * 1024
_MOST_WAITING: Final = 4 * MOST_LINE
_FINAL: Final = (400, 401, 403, 404, 405)


class HeadLinkEnded(Exception):
    """The message says why."""


class LinkRefused(HeadLinkEnded):
    """In the head's words. `is_final`: it would refuse again."""

    def __init__(self, message: str, *, is_final: bool) -> None:
        super().__init__(message)
        self.is_final = is_final


class HeadLink:
    """An open link. `local_address`: this machine's, by which it reaches the head."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._answer = _HttpAnswer()
        self._parser = self._answer.parser = httptools.HttpResponseParser(self._answer)
        self.local_address = str(writer.get_extra_info("sockname")[0])

    @classmethod
    async def opened(cls, head: str, token: str, hello: Hello) -> "HeadLink":
        """Raises HeadLinkEnded, LinkRefused, OSError, within OPEN_S."""
        try:
            async with asyncio.timeout(OPEN_S):
                link = cls(*await _connected(head))
                try:
                    await link._begun(head, token, hello)
                except BaseException:
                    link.close()
                    raise
                return link
        except TimeoutError:
            raise HeadLinkEnded(f"it did not answer within {OPEN_S:g} s") from None

    async def _begun(self, head: str, token: str, hello: Hello) -> None:
        self._writer.write(_request(head, token))
        self.send(hello)
        while self._answer.status is None:
            await self._fed()
        if self._answer.status != 200:
            await self._refused(self._answer.status)

    async def _refused(self, status: int) -> None:
        while not self._answer.is_whole and len(self._answer.body) < MOST_LINE:
            with contextlib.suppress(HeadLinkEnded):
                await self._fed()
                continue
            break
        words = _message(bytes(self._answer.body)) or f"it answers with status {status}"
        if status == 404:
            words = "what answers there lets no nodes join: an older Fjord, or another server"
        raise LinkRefused(words, is_final=status in _FINAL)

    def send(self, message: Said) -> None:
        """Raises HeadLinkEnded where the head takes nothing; BadMessage."""
        line = line_of_message(message)
        if self._writer.transport.is_closing():
            raise HeadLinkEnded("the connection was closed")
        if self._writer.transport.get_write_buffer_size() > _MOST_WAITING:
            raise HeadLinkEnded("the head takes no more messages")
        self._writer.write(b"%x\r\n%b\r\n" % (len(line), line))

    async def sent(self) -> None:
        """Returns once the head's machine has taken all of it, or nearly."""
        self._writer.transport.set_write_buffer_limits(0)
        await self._writer.drain()

    async def lines(self) -> AsyncIterator[bytes]:
        """The head's messages. Raises HeadLinkEnded, BadMessage, OSError at its end."""
        lines = MessageLines()
        while True:
            body, self._answer.body = self._answer.body, bytearray()
            for line in lines.feed(bytes(body)):
                yield line
            if self._answer.is_whole:
                raise HeadLinkEnded("the head has ended it")
            try:
                async with asyncio.timeout(LOST_S):
                    await self._fed()
            except TimeoutError:
                raise HeadLinkEnded(f"the head was not heard for {LOST_S:g} s") from None

    async def _fed(self) -> None:
        piece = await self._reader.read(_PIECE)
        if not piece:
            raise HeadLinkEnded("the connection was closed")
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserError:
            raise HeadLinkEnded("what answers there is no Fjord server") from None

    def close(self) -> None:
        self._writer.transport.abort()


class _HttpAnswer:
    """httptools tells it what it parsed."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.is_whole = False
        self.body = bytearray()
        self.parser: Any = None

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.is_whole = True

    def on_headers_complete(self) -> None:
        self.status = self.parser.get_status_code()


async def _connected(head: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(head)
    tls = Link.to(head).trusted() if parts.scheme == "https" else None
    port = parts.port or (80 if tls is None else 443)
    return await asyncio.open_connection(parts.hostname, port, ssl=tls)


def _request(head: str, token: str) -> bytes:
    lines = [
        f"POST {PATH} HTTP/1.1",
        f"Host: {urlsplit(head).netloc}",
        f"User-Agent: fjord-node/{__version__}",
        f"Authorization: Bearer {token}",
        "Content-Type: application/x-ndjson",
        "Transfer-Encoding: chunked",
    ]
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["message"])[:600]
    except (ValueError, KeyError, TypeError):
        return ""
