"""An answer that a node generates, as its frames come."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from typing import Final

from engines.base import Delta, EngineUnavailable, Sink
from server.peers.client import ERRORS, PeerClient, PeerLost
from server.peers.connection import PeerConnection
from server.peers.errors import heard_error
from server.peers.wire import END, ERROR, FrameReader, heard_delta

GONE: Final = 410
MOST_WAITING: Final = 1024
"""Deltas that nobody has read; with more, the node is read no further, and gathers."""
FEW_WAITING: Final = 64


class Gone(Exception):
    """The node has the prompt no more."""


class PeerStream:
    """A AnswerReader of one. What a ready sink can take passes its reader by."""

    def __init__(self, client: PeerClient, sink: Sink | None) -> None:
        self._client, self._sink = client, sink
        self._frames = FrameReader()
        self._waiting: deque[Delta] = deque()
        self._news: asyncio.Future[None] | None = None
        self._connection: PeerConnection | None = None
        self._status = 0
        self._refusal = b""
        self._error: Exception | None = None
        self._is_over = self._is_whole = self._is_paused = False
        self.has_begun = False
        """A delta has come."""

    async def begin(self, call: bytes) -> None:
        try:
            self._connection = await self._client.begin("generate", call, self)
        except (OSError, TimeoutError):
            raise PeerLost(is_untouched=True) from None

    async def deltas(self) -> AsyncGenerator[Delta, None]:
        """Raises PeerLost, Gone, and what the node's engine raised."""
        while True:
            while self._waiting:
                if self._is_paused and len(self._waiting) <= FEW_WAITING:
                    self._resume()
                yield self._waiting.popleft()
            if self._is_over:
                break
            self._news = asyncio.get_running_loop().create_future()
            await self._news
        if self._error is not None:
            raise self._error

    def end(self, error: Exception | None) -> None:
        """No more comes; who reads has what came so far, and then `error`."""
        if not self._is_over:
            self._is_over, self._error = True, error
            self._wake()

    def close(self) -> None:
        """Its reader is done with it: a node whose answer is not read to its end ends it."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._is_whole and not self._is_paused:
            self._client.give_back(connection)
        else:
            connection.close()

    def _resume(self) -> None:
        self._is_paused = False
        if self._connection is not None:
            self._connection.resume()

    def _wake(self) -> None:
        news, self._news = self._news, None
        if news is not None and not news.done():
            news.set_result(None)

    # A AnswerReader

    def begun(self, status: int) -> None:
        self._status = status

    def came(self, data: bytes) -> None:
        if self._status != 200:
            self._refusal += data
            return
        for kind, payload in self._frames.feed(data):
            if kind == END:
                self.end(None)
            elif kind == ERROR:
                self.end(heard_error(ERRORS.decode(payload), self._client.node))
            else:
                self._heard(heard_delta(kind, payload))

    def _heard(self, delta: Delta) -> None:
        sink, is_first = self._sink, not self.has_begun
        self.has_begun = True
        if not (
            sink is None
            or is_first
            or self._waiting
            or delta.finish_reason is not None
            or not sink.is_ready()
        ):
            sink.take(delta)
            return
        self._waiting.append(delta)
        self._wake()
        if len(self._waiting) > MOST_WAITING and self._connection and not self._is_paused:
            self._is_paused = True
            self._connection.pause()

    def ended(self) -> None:
        self._is_whole = True
        if self._status == GONE:
            self.end(Gone())
        elif self._status != 200:
            self.end(self._client.refusal(self._status, self._refusal))
        else:  # without its last frame: the node was cut
            self.end(EngineUnavailable(f"The server {self._client.node} ended the answer."))

    def lost(self, is_untouched: bool) -> None:
        self.end(PeerLost(is_untouched))
