"""All machines that have joined a head: who is let in, and who is lost."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from engines.joined.facts import JoinedFacts
from engines.joined.node import JoinedNode, NodeLost, NodeOutbox
from engines.joined.wire import LINK_VERSION, Hello, NodeWelcome

MOST_NODES: Final = 256
_LOOK_S: Final = 0.5
_MOST_COUNTED_S: Final = 1.0
"""Of the time between two looks: where the head itself stood still, no node was silent."""
_KEPT_S: Final = 86_400.0


class NotLetIn(Exception):
    """The message says why, for the node's operator. `is_passing`: it may try again."""

    def __init__(self, message: str, *, is_passing: bool = False) -> None:
        super().__init__(message)
        self.is_passing = is_passing


def _is_another(known: JoinedNode, hello: Hello, address: str) -> bool:
    """A second node of its name. One whose link is down for a moment keeps its name, but for a
    process that is started anew on its machine."""
    if known.is_lost or known.session == hello.session:
        return False
    is_same_machine = (known.facts.boot, known.address) == (hello.facts.boot, address)
    return known.is_connected or not is_same_machine


class JoinedNodes:
    """Belongs to the event loop. `facts`: of this machine, the head."""

    def __init__(self, facts: Callable[[], JoinedFacts] | None = None) -> None:
        self.head = secrets.token_hex(8)
        """Another one after each start."""
        self.address = "http://HEAD:8080"
        """Where nodes join, as people are told it."""
        self.takes_nodes = False
        """It has a token with which they may."""
        self._facts = facts
        self._known: JoinedFacts | None = None
        self._nodes: dict[str, JoinedNode] = {}
        self._changed = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._looking = asyncio.create_task(self._look(), name="joined nodes")

    async def stop(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._looking

    async def facts(self) -> JoinedFacts:
        """Of the head itself."""
        if self._known is None:
            if self._facts is None:
                raise NodeLost("this server takes no nodes")
            self._known = await asyncio.to_thread(self._facts)
        return self._known

    @property
    def boot(self) -> str:
        """This machine's, once `facts` was asked."""
        return "" if self._known is None else self._known.boot

    @property
    def all(self) -> Sequence[JoinedNode]:
        """Also those lost within a day."""
        return sorted(self._nodes.values(), key=lambda node: node.name)

    @property
    def connected(self) -> Sequence[JoinedNode]:
        return [node for node in self.all if node.is_connected]

    async def changed(self) -> None:
        """Returns once a node came, went, or told something."""
        await self._changed.wait()

    def join(self, hello: Hello, address: str, head_address: str) -> tuple[JoinedNode, NodeOutbox]:
        """It is connected from now on; its outbox has the welcome. Raises NotLetIn."""
        node = self._admitted(hello, address)
        if node.session != hello.session or hello.head != self.head:
            if not node.is_lost and node.wanted:  # its process is another one: its parts are gone
                node.lose("it started anew")
            node = self._nodes[node.name] = JoinedNode(hello.facts, hello.session)
        outbox = node.connected(address, head_address)
        outbox.put(NodeWelcome(head=self.head, parts=tuple(sorted(node.wanted))))
        self._tell()
        return node, outbox

    def _admitted(self, hello: Hello, address: str) -> JoinedNode:
        if hello.version != LINK_VERSION:
            raise NotLetIn(
                f"This node's link has version {hello.version}, and this server's "
                f"{LINK_VERSION}: install the same Fjord on both."
            )
        name = hello.facts.name
        known = self._nodes.get(name)
        if known is None:
            if len(self._nodes) >= MOST_NODES:
                self._forget(time.monotonic())
            if len(self._nodes) >= MOST_NODES:
                raise NotLetIn(f"{MOST_NODES} nodes have joined already.", is_passing=True)
            return JoinedNode(hello.facts, hello.session)
        if _is_another(known, hello, address):
            raise NotLetIn(
                f"A node called {name} has joined from {known.address}: give this one another "
                "name with --name. (One that has just ended is forgotten in a few seconds.)",
                is_passing=True,
            )
        return known

    def heard_of(self, node: JoinedNode) -> None:
        """It told something."""
        self._tell()

    def left(self, node: JoinedNode, outbox: NodeOutbox) -> None:
        """That connection of it ended."""
        node.disconnected(outbox)
        self._tell()

    async def ask(
        self, node: JoinedNode | str, task: str, arguments: Mapping[str, Any], timeout_s: float
    ) -> Mapping[str, Any]:
        """As JoinedNode.ask; a node may be named."""
        found = self._nodes.get(node) if isinstance(node, str) else node
        if found is None:
            raise NodeLost(f"no node called {node} has joined")
        return await found.ask(task, arguments, timeout_s)

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _look(self) -> None:
        before = time.monotonic()
        while True:
            await asyncio.sleep(_LOOK_S)
            now = time.monotonic()
            for node in list(self._nodes.values()):
                self._look_at(node, min(now - before, _MOST_COUNTED_S))
            self._forget(now - _KEPT_S)
            before = now

    def _look_at(self, node: JoinedNode, passed_s: float) -> None:
        if node.is_lost:
            return
        node.was_silent(passed_s)
        if node.is_lost:
            self._tell()

    def _forget(self, until: float) -> None:
        """Those that were lost by then."""
        for node in list(self._nodes.values()):
            if node.lost_at is not None and node.lost_at <= until:
                del self._nodes[node.name]
