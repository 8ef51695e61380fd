"""What runs on a node for its head, as its link sees it."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Protocol

from engines.joined.wire import PartState


class Parts(Protocol):
    """Belongs to the event loop."""

    changed: asyncio.Event
    """Set whenever there is news."""
    address: str
    """This machine's, by which its head was last reached."""
    doing: str
    """What is worked at for the head, in words; "": nothing."""

    def states(self) -> Sequence[PartState]:
        """Of all, also of those that have just ended."""

    async def end(self, parts: Iterable[str]) -> None:
        """Kill them; returns once they are gone."""

    async def end_all(self) -> None:
        """The same of every one."""


class NoParts:
    """Of a node that runs nothing."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self.address = self.doing = ""

    def states(self) -> Sequence[PartState]:
        return ()

    async def end(self, parts: Iterable[str]) -> None:
        pass

    async def end_all(self) -> None:
        pass
