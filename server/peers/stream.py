"""An answer that a node generates, as its frames come."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from typing import Final

from engines.base import Delta, Sink
from server.peers.channel import Channel
from server.peers.client import ERRORS, PeerClient, PeerLost
from server.peers.errors import heard_error
from server.peers.wire import END, ERROR, AbortCall, encode, heard_delta

GONE: Final = 410


class Gone(Exception):
    """The node has the prompt no more."""


class PeerStream:
    """Hears one. What a ready sink can take passes its reader by; what waits for a slow reader is
    bounded by the answer's length."""

    def __init__(self, client: PeerClient, sink: Sink | None) -> None:
        self._client, self._sink = client, sink
        self._waiting: deque[Delta] = deque()
        self._news: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._channel: Channel | None = None
        self._is_over = False
        self.number = 0
        self.has_begun = False
        """A delta has come."""

    async def join(self) -> str:
        """The name of the channel by which it will come, under `number`. Raises PeerLost."""
        try:
            self._channel = channel = await self._client.channel()
        except (OSError, TimeoutError):
            raise PeerLost(is_untouched=True) from None
        self.number = channel.add(self)
        return channel.name

    async def begin(self, call: bytes) -> None:
        """Raises PeerLost, Gone, and what the node says to it."""
        status, refusal = await self._client.answer("generate", call)
        if status == GONE:
            raise Gone
        if status != 200:
            raise self._client.refusal(status, refusal)

    async def deltas(self) -> AsyncGenerator[Delta, None]:
        """Raises PeerLost, and what the node's engine raised."""
        while True:
            while self._waiting:
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
            news, self._news = self._news, None
            if news is not None and not news.done():
                news.set_result(None)

    def abort_call(self) -> bytes | None:
        """None: there is nothing to abort."""
        if self._channel is None or self._is_over:
            return None
        return encode(AbortCall(self._channel.name, self.number))

    def close(self) -> None:
        """Its reader is done with it, at its end or before."""
        if self._channel is None:
            return
        self._channel.remove(self.number)
        if (call := self.abort_call()) is not None:
            self._client.tell("abort", call)
        self._channel = None

    # Hearing

    def heard(self, kind: int, payload: bytes) -> None:
        if kind == END:
            self.end(None)
        elif kind == ERROR:
            self.end(heard_error(ERRORS.decode(payload), self._client.node))
        else:
            self._take(heard_delta(kind, payload))

    def _take(self, delta: Delta) -> None:
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
        news, self._news = self._news, None
        if news is not None and not news.done():
            news.set_result(None)

    def lost(self) -> None:
        self.end(PeerLost(is_untouched=False))
