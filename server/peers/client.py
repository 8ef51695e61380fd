"""The connections to one node, kept alive and shared by all that ask it."""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Coroutine
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from engines.base import EngineDead, EngineError, EngineUnavailable, InvalidRequest
from server.peers.channel import Channel
from server.peers.connection import AnswerReader, PeerConnection, connected, unreached
from server.peers.directory import Directory
from server.peers.replies import PeerLost, Reply, WholeAnswer, told_by, understood
from server.peers.stream import PeerStream
from server.peers.wire import (
    LET_GO,
    MOST_FRAME,
    PATH,
    PROTOCOL,
    RENDER,
    Pulse,
    decoder,
)

PULSE_S: Final = 5.0
"""A node that does not say in so long that it lives is gone."""
LOOK_S: Final = 2.0
"""So often a node that has not answered is asked whether it lives."""
_IDLE_S: Final = 60.0
"""Less than the other side's patience with an idle connection."""
_MOST_IDLE: Final = 256
_FRESH_S: Final = 1.0
_IN_PIECES: Final = "transfer-encoding: chunked"
_PULSES: Final = decoder(Pulse)

log = logging.getLogger("fjord.peers")
T = TypeVar("T")


class PeerClient:
    """Of one node, for all its aliases."""

    def __init__(self, node: str, directory: Directory) -> None:
        self.node, self._directory = node, directory
        self._address = ""
        self._idle: deque[PeerConnection] = deque()
        self._pulse: asyncio.Task[Pulse] | None = None
        self._pulse_at = 0.0
        self._channel: Channel | None = None
        self._opening: set[asyncio.Task[None]] = set()
        self._users: set[object] = set()

    async def find(self) -> None:
        """Where it is now. Raises EngineUnavailable."""
        address = await self._directory.address(self.node)
        await self._directory.password()
        if address != self._address:
            self._address = address
            self.close()

    async def pulse(self, timeout_s: float = PULSE_S) -> Pulse:
        """That it lives; all who ask at once ask once. Raises EngineDead."""
        known = self._pulse
        if known is None or (known.done() and time.monotonic() - self._pulse_at > _FRESH_S):
            self._pulse = known = asyncio.ensure_future(self._asked_pulse(timeout_s))
            known.add_done_callback(_seen)
        return await asyncio.shield(known)

    async def _asked_pulse(self, timeout_s: float) -> Pulse:
        try:
            async with asyncio.timeout(min(timeout_s, PULSE_S)):
                status, body = await self._answer("pulse", b"")
        except TimeoutError:
            self.close()
            raise EngineDead(f"the server {self.node} did not answer") from None
        except (OSError, PeerLost) as error:
            self.close()
            raise self._unreached(error) from error
        finally:
            self._pulse_at = time.monotonic()
        if status != 200:
            raise EngineDead(f"the server {self.node} answered {status}")
        found: Pulse = understood(self.node, _PULSES.decode, body)
        return found

    async def ask(self, what: str, body: bytes) -> bytes:
        """Waits for as long as the node lives, and ends when it is cancelled. Raises what the
        node's engine raised, EngineDead where the node is gone."""
        _check_length(body)
        try:
            status, answer = await self._while_it_lives(self._answer(what, body))
        except (OSError, PeerLost) as error:
            raise self._unreached(error) from error
        if status != 200:
            raise self.refusal(status, answer)
        return answer

    async def _while_it_lives(self, answer: Coroutine[Any, Any, T]) -> T:
        """A node that freezes keeps its connections."""
        asked = asyncio.ensure_future(answer)
        try:
            while not (await asyncio.wait([asked], timeout=LOOK_S))[0]:
                await self.pulse()
            return asked.result()
        finally:
            asked.cancel()

    def _unreached(self, error: Exception) -> EngineDead:
        return EngineDead(f"the server {self.node} cannot be reached: {unreached(error)}")

    async def rendered(self, call: bytes, choices: int) -> tuple[bytes, PeerStream]:
        """The node's answer to a RenderCall, and where it goes on, what it generates. Raises as
        `ask` does."""
        _check_length(call)
        for _ in range(2):
            channel = await self.open_channel()
            reply = Reply(self.node)
            number = channel.ask(RENDER, call, reply)
            reply.after = stream = PeerStream(channel, self.node, choices, number)
            try:
                found = await reply.done
                channel.hand_over(number, stream)
                return found, stream
            except PeerLost:  # a node that lives gives another channel
                continue
            except EngineError:  # what it was refused with
                stream.forget()
                raise
            except BaseException:
                stream.close()
                raise
        raise EngineDead(f"the connection to the server {self.node} was lost")

    def let_go(self, handle: str) -> None:
        """Of a prompt that is not generated; from any thread, as garbage is collected in any."""
        if (channel := self._channel) is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                channel.loop.call_soon_threadsafe(channel.say, LET_GO, 0, handle.encode())

    async def open_channel(self) -> Channel:
        """The open one, else a new one. Raises EngineDead."""
        try:
            return await self._opened()
        except OSError as error:
            if self._channel is not None:
                self._channel.close()  # who asks next makes another
            raise self._unreached(error) from error

    async def _opened(self) -> Channel:
        known = self._channel
        if known is not None and known.is_ready:
            return known
        if known is None or not known.is_open:
            self._channel = known = Channel()
            task = asyncio.ensure_future(self._open(known))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)
        await known.opened()
        return known

    async def _open(self, channel: Channel) -> None:
        """Nobody who waits for it ends it by leaving."""
        try:
            head = self._head("channel", _IN_PIECES, await self._directory.password())
            channel.connection = await connected(self._address)
            channel.connection.send(head, b"", channel)
        except (OSError, TimeoutError, EngineUnavailable):
            channel.close()

    async def _answer(self, what: str, body: bytes) -> tuple[int, bytes]:
        status, answer = await self._answer_once(what, body)
        if status != 401:
            return status, answer
        self._directory.forget_password()  # it may be another by now
        return await self._answer_once(what, body)

    async def _answer_once(self, what: str, body: bytes) -> tuple[int, bytes]:
        while True:
            reading = WholeAnswer()
            connection = await self.begin(what, body, reading)
            try:
                answer = await reading.done
            except PeerLost as error:
                if error.is_untouched and connection.exchanges > 1:
                    continue  # it was closed while it was idle
                raise
            except BaseException:
                connection.close()
                raise
            self.give_back(connection)
            return reading.status, answer

    async def begin(self, what: str, body: bytes, reading: AnswerReader) -> PeerConnection:
        """Ask, on a connection that is the caller's until it gives it back or closes it. Raises
        OSError, TimeoutError."""
        head = self._head(what, f"content-length: {len(body)}", await self._directory.password())
        connection = self._idle_one() or await connected(self._address)
        connection.send(head, body, reading)
        return connection

    def give_back(self, connection: PeerConnection) -> None:
        if connection.is_open and len(self._idle) < _MOST_IDLE:
            connection.idle_since = time.monotonic()
            self._idle.append(connection)
        else:
            connection.close()

    def refusal(self, status: int, body: bytes) -> Exception:
        """What an answer that is none says."""
        if status == 400:
            return told_by(self.node, body)
        if status == 401:
            return EngineUnavailable(f"the server {self.node} is of another site", 10.0)
        if status == 426:
            return EngineUnavailable(
                f"the server {self.node} is of a version that asks and answers otherwise", 10.0
            )
        return EngineUnavailable(f"the server {self.node} answered {status}", 1.0)

    def used_by(self, user: object) -> None:
        """Until `left_by`; the last one closes everything."""
        self._users.add(user)

    def left_by(self, user: object) -> None:
        self._users.discard(user)
        if not self._users:
            self.close()

    def close(self) -> None:
        """The channel, and what is idle; they are made again for who asks next."""
        if self._channel is not None:
            self._channel.close()
        while self._idle:
            self._idle.pop().close()

    def _idle_one(self) -> PeerConnection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open and time.monotonic() - connection.idle_since < _IDLE_S:
                return connection
            connection.close()
        return None

    def _head(self, what: str, length: str, password: str) -> bytes:
        host = urlsplit(self._address).netloc
        return (
            f"POST {PATH}{what} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {password}\r\n"
            f"x-fjord-peer: {PROTOCOL}\r\ncontent-type: application/msgpack\r\n"
            f"{length}\r\n\r\n"
        ).encode()


def _check_length(call: bytes) -> None:
    """Raises InvalidRequest."""
    if len(call) > MOST_FRAME:
        message = f"The request is too long for the server that has the model: {len(call)} bytes."
        raise InvalidRequest(message, expected=f"at most {MOST_FRAME} bytes")


def _seen(task: "asyncio.Task[Pulse]") -> None:
    """Whoever asked may be gone."""
    if not task.cancelled():
        task.exception()
