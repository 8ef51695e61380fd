"""A node that stays joined: it comes back after whatever cuts its link, and ends what it runs where
it does not."""

import asyncio
import contextlib
import random
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Final

from engines.joined.facts import JoinedFacts, free_bytes
from engines.joined.parts import Parts
from engines.joined.tasks import Task, TaskRunner
from engines.joined.wire import (
    BEAT_S,
    LINK_VERSION,
    BadMessage,
    Bye,
    Cancel,
    HeadBeat,
    Hello,
    NodeBeat,
    NodeLeave,
    NodeWelcome,
    TaskAnswer,
    TaskAsked,
    from_head,
)
from server.cli.node.head_link import HeadLink, HeadLinkEnded, LinkRefused
from server.refusal import CannotStart

ORPHAN_S: Final = 8.0
"""Without its head for so long, what it runs is ended: the head has given it up by then."""
_FIRST_S, _LONGEST_S = 0.2, 5.0
_LASTED_S: Final = 1.0
_LEAVE_S: Final = 0.5
FREE_S: Final = 5.0
"""Between two looks at the cards' memory."""


class Joining:
    """Belongs to the event loop. `say` shows a person each change, once."""

    def __init__(
        self,
        head: str,
        token: str,
        facts: JoinedFacts,
        parts: Parts,
        tasks: Mapping[str, Task],
        say: Callable[[str], None],
        parted: Callable[[], None] = lambda: None,
    ) -> None:
        """`parted` is called whenever the link has ended."""
        self._head, self._token, self._facts = head, token, facts
        self._parts, self._tasks = parts, tasks
        self._say, self._parted = say, parted
        self._said = ""
        self._session = secrets.token_hex(8)
        self._head_id = ""
        self._alone_since: float | None = time.monotonic()
        self._free: tuple[int, ...] = ()

    async def run(self) -> None:
        """Until it is cancelled. Raises CannotStart where the head does not take it at first."""
        beside = [asyncio.create_task(self._guard(), name="orphans")]
        if self._facts.cards:
            beside.append(asyncio.create_task(self._look_at_cards(), name="cards"))
        try:
            wait_s = _FIRST_S
            while True:
                began = time.monotonic()
                if await self._once() and time.monotonic() - began > _LASTED_S:
                    wait_s = _FIRST_S  # a head that ends each link at once is not stormed
                await asyncio.sleep(wait_s * random.uniform(0.7, 1.0))
                wait_s = min(_LONGEST_S, 2 * wait_s)
        finally:
            for each in beside:
                each.cancel()

    async def _once(self) -> bool:
        """One link, from its beginning to its end; whether there was one."""
        hello = Hello(
            version=LINK_VERSION,
            facts=self._facts,
            session=self._session,
            head=self._head_id,
            parts=tuple(self._parts.states()),
        )
        try:
            link = await HeadLink.opened(self._head, self._token, hello)
        except LinkRefused as refusal:
            if refusal.is_final and not self._head_id:
                raise CannotStart(f"{self._head} refuses: {refusal}") from None
            self._tell(f"{self._head} refuses: {refusal} Trying on.")
        except (HeadLinkEnded, OSError) as error:
            self._tell(f"No link to {self._head}: {_why(error)}. Trying on.")
        else:
            await self._linked(link)
            return True
        return False

    async def _linked(self, link: HeadLink) -> None:
        self._parts.address = link.local_address
        runner = TaskRunner(self._tasks, lambda answer: _send(link, answer))
        beats = asyncio.create_task(self._beat(link), name="beats")
        try:
            async for line in link.lines():
                await self._heard(line, runner)
        except asyncio.CancelledError:
            await _leave(link)
            raise
        except (HeadLinkEnded, BadMessage, OSError) as error:
            self._tell(f"The link to {self._head} broke: {_why(error)}. Trying on.")
        finally:
            if self._alone_since is None:
                self._alone_since = time.monotonic()
            beats.cancel()
            link.close()
            await runner.stop()
            self._parted()

    async def _heard(self, line: bytes, runner: TaskRunner) -> None:
        """Raises BadMessage."""
        match from_head(line):
            case NodeWelcome() as welcome:
                await self._welcomed(welcome)
            case TaskAsked() as ask:
                runner.asked(ask)
            case Cancel() as cancel:
                runner.cancelled(cancel)
            case Bye():
                await self._parts.end_all()
                raise HeadLinkEnded("it has ended")
            case HeadBeat():
                pass

    async def _welcomed(self, welcome: NodeWelcome) -> None:
        """What another head wanted, or this one wants no more, ends."""
        is_same = welcome.head == self._head_id
        self._head_id, self._alone_since = welcome.head, None
        wanted = set(welcome.parts) if is_same else set()
        self._tell(f"Joined {self._head} as {self._facts.name}, from {self._parts.address}.")
        await self._parts.end({each.id for each in self._parts.states()} - wanted)

    async def _beat(self, link: HeadLink) -> None:
        """Each second, and at once where something changed."""
        while True:
            self._parts.changed.clear()
            beat = NodeBeat(
                parts=tuple(self._parts.states()), free=self._free, doing=self._parts.doing[:2000]
            )
            _send(link, beat)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._parts.changed.wait(), BEAT_S)

    async def _look_at_cards(self) -> None:
        """Beside the beats: a driver that is slow to answer is no node that is lost."""
        while True:
            self._free = await asyncio.to_thread(free_bytes)
            self._parts.changed.set()
            await asyncio.sleep(FREE_S)

    async def _guard(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S / 2)
            since = self._alone_since
            if since is not None and time.monotonic() - since > ORPHAN_S and self._parts.states():
                await self._parts.end_all()

    def _tell(self, words: str) -> None:
        if words != self._said:
            self._said = words
            self._say(words)


async def _leave(link: HeadLink) -> None:
    with contextlib.suppress(HeadLinkEnded, OSError, TimeoutError):
        link.send(NodeLeave())
        await asyncio.wait_for(link.sent(), _LEAVE_S)


def _send(link: HeadLink, message: NodeBeat | TaskAnswer) -> None:
    """Who does not take it is cut off, and its reader tells."""
    try:
        link.send(message)
    except HeadLinkEnded:
        link.close()


def _why(error: Exception) -> str:
    return (str(error) or type(error).__name__).rstrip(".")[:300]
