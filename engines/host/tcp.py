"""What the kernel is told of a TCP connection: when it asks a silent peer whether it is there."""

import asyncio
import socket
from collections.abc import Mapping
from typing import Any


def keep_alive(transport: asyncio.BaseTransport, options: Mapping[str, int]) -> None:
    """`options`: names of TCP's in `socket`, and their values; what this system lacks is left out.
    A connection of another kind is left as it is."""
    connection: Any = transport.get_extra_info("socket")
    if connection is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in options.items():
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
