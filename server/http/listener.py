"""A socket that is listened on: in plain HTTP, or in TLS with a bound on its handshake."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from server.http.connection import SEND_LOOKS

HANDSHAKE_TIMEOUT_S = 20.0
"""Until then a client holds a file descriptor; no connection of ours has begun."""


@dataclass(frozen=True, slots=True)
class Listener:
    """It listens already; nobody takes its connections before `serve`."""

    socket: socket.socket
    tls: ssl.SSLContext | None = None
    is_ops: bool = False
    """Whether it is the operators' own."""

    async def serve(
        self, protocol: Callable[[], asyncio.Protocol], backlog: int, send_timeout_s: float
    ) -> asyncio.Server:
        """`send_timeout_s`: of the connections."""
        loop = asyncio.get_running_loop()
        if self.socket.family == socket.AF_UNIX:
            return await loop.create_unix_server(protocol, sock=self.socket, backlog=backlog)
        is_tls = self.tls is not None
        # Of a connection that is closed: what is left to read, and the client's end of TLS.
        goodbye_s = max(1.0, (SEND_LOOKS + 1) * send_timeout_s)
        return await loop.create_server(
            protocol,
            sock=self.socket,
            backlog=backlog,
            ssl=self.tls,
            ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S if is_tls else None,
            ssl_shutdown_timeout=goodbye_s if is_tls else None,
        )
