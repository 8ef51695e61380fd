"""What a node generates for one request, as its frames come."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Final

import msgspec

from engines.base import Delta, Sink
from server.fairness.gate import TurnPlace
from server.peers.channel import Channel
from server.peers.replies import PeerLost, not_understood, told_by
from server.peers.wire import ABORT, END, ERROR, FULL, GENERATE, GONE, PLACE, PLAIN, heard_delta

_PLACE: Final = msgspec.msgpack.Decoder(TurnPlace)
log = logging.getLogger("fjord.peers")


class Gone(Exception):
    """The node has the prompt no more."""


class PeerStream:
    """Hears it. What a ready sink can take passes its reader by; what waits for a slow reader is
    bounded by the answer's length."""

    def __init__(self, channel: Channel, node: str, choices: int, number: int = 0) -> None:
        """`number`: under which it was asked for already, with its prompt."""
        self._channel, self._node = channel, node
        self._choices, self._number = choices, number
        self._sink: Sink | None = None
        self._waiting: deque[Delta] = deque()
        self._news: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._is_over = False
        self.has_begun = False
        """A delta has come."""
        self.place: TurnPlace | None = None
        """Where it waits on the node for its turn, until a delta comes."""

    async def deltas(self, call: bytes | None, sink: Sink | None) -> AsyncGenerator[Delta, None]:
        """Of a GenerateCall; None: of what was asked for with its prompt. Raises PeerLost, Gone,
        and what the node's engine raised."""
        self._sink = sink
        if call is not None:
            self._number = self._channel.ask(GENERATE, call, self)
        while True:
            while self._waiting:
                yield self._waiting.popleft()
            if self._is_over:
                break
            self._news = asyncio.get_running_loop().create_future()
            await self._news
        if self._error is not None:
            raise self._error

    def abort(self) -> None:
        """What was generated so far comes, and then its end."""
        if not self._is_over:
            self._channel.say(ABORT, self._number)

    def end(self, error: Exception | None) -> None:
        """No more comes; who reads has what came so far, and then `error`."""
        if not self._is_over:
            self._is_over, self._error = True, error
            self._wake()

    def close(self) -> None:
        """Its reader is done with it, at its end or before."""
        self.abort()
        self._channel.remove(self._number)

    def leave(self) -> None:
        """As `close`, from any thread: garbage is collected in any."""
        with suppress(RuntimeError):  # the loop has ended
            self._channel.loop.call_soon_threadsafe(self.close)

    def forget(self) -> None:
        """It never began."""
        self._channel.remove(self._number)

    def _wake(self) -> None:
        news, self._news = self._news, None
        if news is not None and not news.done():
            news.set_result(None)

    # Hearing

    def heard(self, kind: int, payload: bytes) -> None:
        if self._is_over:
            return
        try:
            self._hear(kind, payload)
        except Exception:  # no other request's fault
            log.exception("what %s answered is not understood", self._node)
            self.abort()
            self.end(not_understood(self._node))

    def _hear(self, kind: int, payload: bytes) -> None:
        """Raises what decoding does, and what reading a delta that makes no sense."""
        if kind in (PLAIN, FULL):
            delta = heard_delta(kind, payload)
            if delta.index >= self._choices:
                raise ValueError(f"a delta of choice {delta.index} of {self._choices}")
            self._take(delta)
        elif kind == END:
            self.end(None)
        elif kind == GONE:
            self.end(Gone())
        elif kind == ERROR:
            self.end(told_by(self._node, payload))
        elif kind == PLACE:
            self.place = _PLACE.decode(payload)
        else:
            raise ValueError(f"a frame of kind {kind} is no part of an answer")

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
        self._wake()

    def lost(self) -> None:
        self.end(PeerLost(is_untouched=False))
