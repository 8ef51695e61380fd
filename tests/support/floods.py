"""Many requests of one key at once, each on a connection of its own."""

import asyncio
import json
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from server.ledger.records import KeyLimits
from tests.support.serving import Served

MANY = KeyLimits(requests_per_minute=100_000, burst=5_000, concurrent=5_000)
"""What a key needs for it."""


class Flood:
    """Their connections. Answers lie unread until `answers`."""

    def __init__(self) -> None:
        self._open: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def send(self, server: Served, key: str, body: dict[str, Any]) -> None:
        host, port = server.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=2**20)
        encoded = json.dumps(body).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\n"
        head += f"Connection: close\r\nContent-Length: {len(encoded)}\r\n\r\n"
        writer.write(head.encode() + encoded)
        self._open.append((reader, writer))

    async def answers(self) -> list[str]:
        """Each with its head, to its end."""
        return [(await reader.read()).decode() for reader, _ in self._open]

    def leave(self) -> None:
        """All clients go, at once."""
        for _, writer in self._open:
            writer.transport.abort()
        self._open.clear()


@asynccontextmanager
async def flood(server: Served, key: str, count: int, body: dict[str, Any]) -> AsyncIterator[Flood]:
    """So many; they leave at the block's end."""
    clients = Flood()
    with _files(2 * count + 1000):
        try:
            for _ in range(count):
                await clients.send(server, key, body)
            yield clients
        finally:
            clients.leave()


@contextmanager
def _files(wanted: int) -> Iterator[None]:
    """Both ends of each connection are in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    yield
