"""Ports that a machine listens on for a while: each says a number that shows whose they are, and
sends what is asked of it."""

import asyncio
import errno
import socket
from collections.abc import Sequence
from typing import Final

NUMBER_BYTES: Final = 16
MOST_PORTS: Final = 64
MOST_CONNECTIONS: Final = 512
"""At once, of all ports together."""
SEND: Final = b"S"
"""What a connection says that wants bytes; whatever else it says ends it."""
MOST_SENT: Final = 64 * 2**20
PIECE: Final = b"\0" * 2**18
SAY_S: Final = 5.0
SENDING_S: Final = 10.0


class ProbeListeners:
    """Closed by `close`, or by themselves after a while. Belongs to the event loop."""

    def __init__(self) -> None:
        self._servers: list[asyncio.Server] = []
        self._number = b""
        self._connections = 0
        self._end: asyncio.TimerHandle | None = None

    @property
    def are_open(self) -> bool:
        return bool(self._servers)

    async def open(
        self, number: bytes, ports: Sequence[int], free: int, seconds: float
    ) -> tuple[dict[int, str], list[int]]:
        """On every address: each of `ports` with why not ("": it listens), and `free` others that
        the system chose. What was open is closed first."""
        self.close()
        self._number = number
        loop = asyncio.get_running_loop()
        self._end = loop.call_later(seconds, self.close)
        said = {port: await self.listen(port) for port in ports}
        chosen = []
        for _ in range(free):
            if not await self.listen(0):
                chosen.append(int(self._servers[-1].sockets[0].getsockname()[1]))
        return said, chosen

    async def listen(self, port: int) -> str:
        """Why not; "": it does. 0: on one that the system chooses."""
        try:
            found = _bound(port)
        except OSError as error:
            return _why_not(error)
        self._servers.append(await asyncio.start_server(self._came, sock=found, backlog=64))
        return ""

    def close(self) -> None:
        if self._end is not None:
            self._end.cancel()
        for server in self._servers:
            server.close()
        self._servers.clear()

    async def _came(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._connections >= MOST_CONNECTIONS:
            writer.transport.abort()
            return
        self._connections += 1
        try:
            writer.write(self._number)
            async with asyncio.timeout(SAY_S):
                wanted = await reader.read(1)
            if wanted == SEND:
                async with asyncio.timeout(SENDING_S):
                    await _send(writer)
        except (OSError, TimeoutError, asyncio.CancelledError):  # the last: the loop ends
            pass
        finally:
            self._connections -= 1
            writer.transport.abort()


async def _send(writer: asyncio.StreamWriter) -> None:
    """Until the other has enough and ends it."""
    for _ in range(MOST_SENT // len(PIECE)):
        writer.write(PIECE)
        await writer.drain()


def _bound(port: int) -> socket.socket:
    """On all addresses of both kinds, where there are both."""
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(
                ("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64
            )
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                raise
    return socket.create_server(("", port), backlog=64)


def _why_not(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "in use"
    if error.errno == errno.EACCES:
        return "only root may have it"
    return (error.strerror or "not to be had")[:80]
