"""The engine's messages, read and written without pyzmq's asynchronous sockets.

Those look at each socket's state in flags of Python's `enum` for every message, with two callbacks
and a timer: 25 to 45 of 85 to 110 µs that a message costs, and a lone stream's token is a message.
A socket underneath is the same, so that nothing is copied and who sends first goes first.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

MOST_COPIED: Final = 65_536
"""Bytes of a message that are cheaper copied than kept until the socket's thread has sent them."""


def quicken(client: Any) -> None:
    """Have an AsyncMPClient, on its event loop, read and write so from its next messages on. Raises
    AttributeError where vLLM lacks one of the names."""
    reader, writer = client.resources.output_socket, client.input_socket
    reader.recv_multipart = MessageReader(reader).recv_multipart
    writer.send_multipart = MessageWriter(writer).send_multipart


class MessageReader:
    """Stands for a `zmq.asyncio.Socket` that has one reader."""

    def __init__(self, socket: Any) -> None:
        import zmq

        self._socket: Any = zmq.Socket.shadow(socket)
        self._flags, self._again = zmq.NOBLOCK, zmq.Again
        self._loop = asyncio.get_running_loop()
        self._news: asyncio.Future[None] | None = None
        self._is_watched = False

    async def recv_multipart(self, flags: int = 0, copy: bool = True, track: bool = False) -> Any:
        """As the socket's. Its descriptor tells of a change and not of a state: so it is asked
        first, and waited for when it has nothing."""
        if not self._is_watched:
            # not before: the socket itself has waited there for its first message
            self._is_watched = True
            self._loop.add_reader(self._socket.FD, self._wake)
        while True:
            try:
                return self._socket.recv_multipart(flags | self._flags, copy=copy, track=track)
            except self._again:
                self._news = self._loop.create_future()
                await self._news

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)


class MessageWriter:
    """Stands for a `zmq.asyncio.Socket` to which small messages are written."""

    def __init__(self, socket: Any) -> None:
        import zmq

        self._socket: Any = zmq.Socket.shadow(socket)
        self._flags, self._again = zmq.NOBLOCK, zmq.Again
        self._loop = asyncio.get_running_loop()
        self._send_later = socket.send_multipart
        self._later = 0
        """Messages that wait for room; none overtakes them."""

    def send_multipart(
        self, parts: Sequence[Any], flags: int = 0, copy: bool = True, **options: Any
    ) -> "asyncio.Future[Any]":
        """As the socket's."""
        if self._later or options or (not copy and _size(parts) > MOST_COPIED):
            return self._sent_later(parts, flags, copy, options)
        try:
            self._socket.send_multipart(parts, flags | self._flags)
        except self._again:
            return self._sent_later(parts, flags, copy, options)
        sent: asyncio.Future[Any] = self._loop.create_future()
        sent.set_result(None)
        return sent

    def _sent_later(
        self, parts: Sequence[Any], flags: int, copy: bool, options: dict[str, Any]
    ) -> "asyncio.Future[Any]":
        sent: asyncio.Future[Any] = self._send_later(parts, flags, copy, **options)
        if not sent.done():
            self._later += 1
            sent.add_done_callback(self._is_sent)
        return sent

    def _is_sent(self, _: Any) -> None:
        self._later -= 1


def _size(parts: Sequence[Any]) -> int:
    """In bytes."""
    return sum(part.nbytes if isinstance(part, memoryview) else len(part) for part in parts)
