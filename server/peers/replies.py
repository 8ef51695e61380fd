"""What a node answers to one question."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, TypeVar

from engines.base import EngineUnavailable
from server.peers.channel import Hearing
from server.peers.errors import WireError, heard_error
from server.peers.wire import ERROR, MOST_FRAME, REPLY, decoder

ERRORS: Final = decoder(WireError)
T = TypeVar("T")
log = logging.getLogger("fjord.peers")


class PeerLost(Exception):
    """The connection, before the answer was whole. `is_untouched`: before any of it."""

    def __init__(self, is_untouched: bool) -> None:
        super().__init__("the connection was lost")
        self.is_untouched = is_untouched


class WholeAnswer:
    """An AnswerReader of an answer as one."""

    def __init__(self) -> None:
        self.status = 0
        self.done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._pieces: list[bytes] = []
        self._bytes = 0

    def begun(self, status: int) -> None:
        self.status = status

    def came(self, data: bytes) -> None:
        self._bytes += len(data)
        if self._bytes > MOST_FRAME:
            raise ValueError("the answer is too long")
        self._pieces.append(data)

    def ended(self) -> None:
        if not self.done.done():
            self.done.set_result(b"".join(self._pieces))

    def lost(self, is_untouched: bool) -> None:
        if not self.done.done():
            self.done.set_exception(PeerLost(is_untouched))


class Reply:
    """Hears the one to a question by the channel."""

    def __init__(self, node: str) -> None:
        self._node = node
        self.after: Hearing | None = None
        """Hears what comes after it, until it hears by itself."""
        self.done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def heard(self, kind: int, payload: bytes) -> None:
        if self.done.done():
            if self.after is not None:
                self.after.heard(kind, payload)
        elif kind == ERROR:
            self.done.set_exception(told_by(self._node, payload))
        elif kind == REPLY:
            self.done.set_result(payload)
        else:
            self.done.set_exception(not_understood(self._node))

    def lost(self) -> None:
        if not self.done.done():
            self.done.set_exception(PeerLost(is_untouched=False))
        if self.after is not None:
            self.after.lost()


def told_by(node: str, payload: bytes) -> Exception:
    """The error that it told, or that this is none."""
    try:
        return heard_error(ERRORS.decode(payload), node)
    except Exception:
        return not_understood(node)


def understood(node: str, read: Callable[[bytes], T], data: bytes) -> T:
    """What its answer says. Raises EngineUnavailable where it says nothing that is known."""
    try:
        return read(data)
    except Exception:
        log.exception("what %s answered is not understood", node)
        raise not_understood(node) from None


def not_understood(node: str) -> EngineUnavailable:
    return EngineUnavailable(f"The server {node} answered what is not understood.", 1.0)
