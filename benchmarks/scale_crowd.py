"""Connections that are opened, each with a streamed request, and kept."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

from benchmarks.gap_streams import request

AT_ONCE = 100
"""That are being opened: as many as a listener surely has room for."""
WAIT_S = 600.0


class Held(asyncio.Protocol):
    """One connection with its one request."""

    def __init__(self, raw: bytes, begun: Callable[[], None], ended: Callable[[str], None]) -> None:
        self._raw, self._begun, self._ended = raw, begun, ended
        self._has_begun = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self._raw)

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"HTTP/1.1") and not data.startswith(b"HTTP/1.1 200"):
            self._ended(data[-300:].decode(errors="replace"))
        elif not self._has_begun and b'"content"' in data:
            self._has_begun = True
            self._begun()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended(f"cut: {exc}")


class Crowd:
    """Of one model. `has_begun`: how many have text of their answer."""

    def __init__(self, port: int, key: str, body: dict[str, Any]) -> None:
        raw = json.dumps(body | {"stream": True}).encode()
        self._raw = request("/v1/chat/completions", raw, {"X-API-Key": key})
        self._port = port
        self._held: list[Held] = []
        self._leaves = False
        self.has_begun = 0
        self.wrong: list[str] = []

    async def grow(self, count: int, is_there: Callable[[], bool]) -> None:
        """Until there are `count`, and `is_there` says so. Raises SystemExit where one is refused
        or cut, or they are not there in time."""
        loop, end = asyncio.get_running_loop(), time.monotonic() + WAIT_S
        while len(self._held) < count:
            more = min(AT_ONCE, count - len(self._held))
            made = (loop.create_connection(self._new, "127.0.0.1", self._port) for _ in range(more))
            await asyncio.gather(*made)
        while not await asyncio.to_thread(is_there):
            if self.wrong or time.monotonic() > end:
                raise SystemExit(f"{self.has_begun} of {count} have begun: {self.wrong[:1]}")
            await asyncio.sleep(0.1)

    async def leave(self) -> None:
        self._leaves = True
        for held in self._held:
            held.transport.abort()
        self._held.clear()
        await asyncio.sleep(0)

    def _new(self) -> Held:
        self._held.append(Held(self._raw, self._count, self._note))
        return self._held[-1]

    def _count(self) -> None:
        self.has_begun += 1

    def _note(self, text: str) -> None:
        if not self._leaves:
            self.wrong.append(text)
