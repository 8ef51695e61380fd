"""One joined machine as its head knows it: what it told, what it is asked, whether it is there."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from engines.errors import EngineUnavailable
from engines.joined.facts import JoinedFacts
from engines.joined.wire import (
    LOST_S,
    BadMessage,
    Cancel,
    FromNode,
    NodeBeat,
    NodeLeave,
    PartState,
    Said,
    TaskAnswer,
    TaskAsked,
    line_of_message,
    plain,
)

MOST_ASKED: Final = 64
"""Tasks of one node at a time."""
_GRACE_S = 5.0
"""The node itself keeps a TaskAsked's time; its word that it is over may take so long."""


class NodeLost(EngineUnavailable):
    """The link to a node is down, or its machine is."""


class TaskFailed(EngineUnavailable):
    """A node could not do what it was asked; its words say why."""


class NodeOutbox:
    """What waits to be sent to a node; who does not take it is cut off."""

    def __init__(self) -> None:
        self.lines: asyncio.Queue[bytes] = asyncio.Queue(4 * MOST_ASKED)

    def put(self, message: Said) -> None:
        """Raises NodeLost, BadMessage."""
        try:
            self.lines.put_nowait(line_of_message(message))
        except asyncio.QueueFull:
            raise NodeLost("it takes no more messages") from None


class JoinedNode:
    """Belongs to the event loop."""

    def __init__(self, facts: JoinedFacts, session: str) -> None:
        self.facts, self.session = facts, session
        self.since = time.monotonic()
        self.address = self.head_address = ""
        """Its own, and the head's by which it came."""
        self.parts: Mapping[str, PartState] = {}
        self.wanted: dict[str, int] = {}
        """Parts that the head has there -> cards of each."""
        self.free: tuple[int, ...] = ()
        self.doing = ""
        self.silent_s = 0.0
        self.lost_at: float | None = None
        """By the monotonic clock."""
        self.outbox: NodeOutbox | None = None
        """None: it is not connected."""
        self._ids = itertools.count(1)
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._watched: dict[str, Callable[[str], None]] = {}
        self._begun: set[str] = set()
        """Of those, the ones that it told to have started."""

    @property
    def name(self) -> str:
        return self.facts.name

    @property
    def state(self) -> Literal["joined", "away", "lost"]:
        """away: its link is down for a moment. lost: what it ran is given up."""
        return "lost" if self.is_lost else "joined" if self.is_connected else "away"

    @property
    def is_lost(self) -> bool:
        return self.lost_at is not None

    @property
    def is_connected(self) -> bool:
        return self.outbox is not None and not self.is_lost

    def connected(self, address: str, head_address: str) -> NodeOutbox:
        """A new connection of it; one that was there ends."""
        self.disconnected(self.outbox)
        self.address, self.head_address = address, head_address
        self.silent_s, self.lost_at = 0.0, None
        self.outbox = outbox = NodeOutbox()
        return outbox

    def disconnected(self, outbox: NodeOutbox | None) -> None:
        """That connection ended, if it is the one it has."""
        if outbox is None or self.outbox is not outbox:
            return
        self.outbox = None
        self.doing = ""
        for future in self._asked.values():
            if not future.done():
                future.set_exception(NodeLost(f"{self.name} is away: its link ended"))

    def heard(self, message: FromNode) -> None:
        """Raises BadMessage for what it may not say now."""
        self.silent_s = 0.0
        match message:
            case NodeBeat():
                self.parts = {part.id: part for part in message.parts}
                self.free, self.doing = message.free, message.doing
                self._tell_ends()
            case NodeLeave():
                self.lose("it has left")
            case TaskAnswer():
                self._answered(message)
            case _:
                raise BadMessage("a second hello")

    def was_silent(self, seconds: float) -> None:
        """For so long more."""
        self.silent_s += seconds
        if self.silent_s >= LOST_S and not self.is_lost:
            self.lose(f"it was not heard for {LOST_S:g} s")

    def lose(self, why: str) -> None:
        """Nothing that it runs counts any more."""
        self.lost_at = time.monotonic()
        self.disconnected(self.outbox)
        watched, self._watched = self._watched, {}
        self._begun.clear()
        self.wanted.clear()
        for ended in watched.values():
            ended(f"{self.name}: {why}")

    def watch(self, part: str, ended: Callable[[str], None]) -> None:
        """Call `ended` once, with why, when the part there ended or froze, or the node is lost."""
        self._watched[part] = ended

    def has_begun(self, part: str) -> None:
        """It is to be told of in each beat from now on: a node may have ended it by itself while
        the head stood still."""
        self._begun.add(part)

    def unwatch(self, part: str) -> None:
        self._begun.discard(part)
        self._watched.pop(part, None)
        self.wanted.pop(part, None)

    def _tell_ends(self) -> None:
        for part in self.parts.values():
            if part.state in ("ended", "frozen") and part.id in self._watched:
                words = part.words or ("it is frozen" if part.state == "frozen" else "it ended")
                self._watched.pop(part.id)(f"{self.name}: {words}")
        for gone in self._begun - self.parts.keys():
            self._begun.discard(gone)
            if (ended := self._watched.pop(gone, None)) is not None:
                ended(f"{self.name}: it has its part no more")

    def _answered(self, answer: TaskAnswer) -> None:
        """One that nobody waits for is ignored: it was on its way."""
        future = self._asked.get(answer.id)
        if future is None or future.done():
            return
        if answer.error or answer.result is None:
            future.set_exception(TaskFailed(f"{self.name}: {answer.error or 'no result'}"))
        else:
            future.set_result(answer.result)

    async def ask(
        self, task: str, arguments: Mapping[str, Any], timeout_s: float
    ) -> Mapping[str, Any]:
        """What its task of that name answers. Raises TaskFailed with the node's own words, or
        where it takes longer; NodeLost."""
        outbox = self.outbox
        if outbox is None or self.is_lost:
            raise NodeLost(f"{self.name} is away")
        if len(self._asked) >= MOST_ASKED:
            raise TaskFailed(f"{self.name} has {MOST_ASKED} tasks already")
        number = next(self._ids)
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._asked[number] = future
        try:
            message = TaskAsked(
                id=number, task=task, arguments=plain(arguments), timeout_s=timeout_s
            )
            outbox.put(message)
            async with asyncio.timeout(timeout_s + _GRACE_S):
                return await future
        except TimeoutError:
            raise TaskFailed(f"{self.name}: {task} took longer than {timeout_s:g} s") from None
        except BadMessage as error:
            raise TaskFailed(f"{self.name}: {error}") from None
        finally:
            del self._asked[number]
            if not future.done() or future.cancelled():
                with contextlib.suppress(NodeLost):
                    outbox.put(Cancel(id=number))
