"""Both ways into a link: a head waits for nodes, a node comes to its head and answers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from engines.probing.channel import ProbedNode, ProbeFailed, ProbeTask, answered
from engines.probing.link import LinkChannel, ProbeLink, greeted
from engines.probing.wire import CLOCK

MOST_WAITING: Final = 32
"""Connections that have proved nothing yet."""
MOST_NAMED: Final = 20
"""Of those that were sent away."""
CONNECT_S: Final = 5.0
AGAIN_S: Final = 0.5
BEAT_S: Final = 5.0
"""Who waits for others is asked so often whether it is still there."""
MOST_SILENT_S: Final = 200.0
"""A node waits so long for its head's next question: longer than all probes take."""
MOST_NAME: Final = 64


class ProbeDoor:
    """A head's: who has the secret becomes a node, until there are `wanted`."""

    def __init__(
        self, secret: str, wanted: int, told: Callable[[str], None], *, names: tuple[str, ...] = ()
    ) -> None:
        """`told` gets a line for each that came, and for each that was sent away."""
        self._secret, self._wanted, self._told = secret, wanted, told
        self._names = names
        self._links: dict[str, ProbeLink] = {}
        self.nodes: list[ProbedNode] = []
        self._waiting = self._strangers = 0
        self._full = asyncio.Event()

    async def all_here(self, timeout_s: float) -> bool:
        """False: the time is over before all came. Who left meanwhile is no node any more."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while not self._full.is_set() and (left := deadline - loop.time()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, BEAT_S)):
                    await self._full.wait()
            if not self._full.is_set():
                await self._let_go_of_the_lost()
        return self._full.is_set()

    async def _let_go_of_the_lost(self) -> None:
        nodes = list(self.nodes)
        for node, lives in zip(nodes, await asyncio.gather(*map(_lives, nodes)), strict=True):
            if not lives:
                self.nodes.remove(node)
                self._links.pop(node.name).abort()
                self._full.clear()
                self._told(f"{node.name} has left")

    async def came(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._waiting >= MOST_WAITING or self._full.is_set():
            writer.transport.abort()
            return
        self._waiting += 1
        try:
            await self._let_in(await greeted(reader, writer, self._secret, is_head=True))
        except (ProbeFailed, TimeoutError) as error:
            self._sent_away(_peer(writer), error)
            writer.transport.abort()
        except asyncio.CancelledError:  # the loop ends: asyncio would log it as an error
            writer.transport.abort()
        finally:
            self._waiting -= 1

    def _sent_away(self, peer: str, error: Exception) -> None:
        self._strangers += 1
        if self._strangers <= MOST_NAMED:
            self._told(f"{peer} was sent away: {error or 'it says nothing'}")

    async def _let_in(self, link: ProbeLink) -> None:
        async with asyncio.timeout(CONNECT_S):
            hello = await link.receive()
        if self._full.is_set():
            raise ProbeFailed("all machines are here already")
        name = self._free_name(str(hello.get("name") or "node")[:MOST_NAME], link.peer_address)
        self._links[name] = link
        self.nodes.append(ProbedNode(name, LinkChannel(link), link.peer_address))
        self._told(f"{name} is here, from {link.peer_address}")
        if len(self.nodes) >= self._wanted:
            self._full.set()

    def _free_name(self, name: str, address: str) -> str:
        found = "".join(c if c.isprintable() else "?" for c in name)
        if found in self._names or found in self._links:
            found = f"{found}@{address}"
        while found in self._links:
            found += "+"
        return found

    async def over(self, bad: Mapping[str, int]) -> None:
        """Tell each how many of its findings are bad, and let it go."""
        for name, link in self._links.items():
            with contextlib.suppress(ProbeFailed):
                await link.send({"over": bad.get(name, 0), "all": sum(bad.values())})
                await link.close()

    @property
    def own_address(self) -> str:
        """By which nodes came; "": none did."""
        return next((link.own_address for link in self._links.values()), "")

    @asynccontextmanager
    async def open(self, host: str, port: int) -> AsyncIterator[int]:
        """The port on which it waits. Raises OSError."""
        server = await asyncio.start_server(self.came, host or None, port, backlog=MOST_WAITING)
        try:
            yield int(server.sockets[0].getsockname()[1])
        finally:
            server.close()
            for link in self._links.values():
                link.abort()
            await asyncio.sleep(0)  # connections are closed by the loop


async def arrived(host: str, port: int, secret: str, timeout_s: float) -> ProbeLink:
    """A node's end, once its head waits there. Raises ProbeFailed."""
    loop = asyncio.get_running_loop()
    deadline, why = loop.time() + timeout_s, ""
    while True:
        try:
            async with asyncio.timeout(CONNECT_S):
                reader, writer = await asyncio.open_connection(host, port)
            break
        except (OSError, TimeoutError) as error:
            why = getattr(error, "strerror", None) or str(error) or "no answer"
        if loop.time() > deadline:
            raise ProbeFailed(f"{host}:{port} cannot be reached within {timeout_s:g} s: {why}")
        await asyncio.sleep(AGAIN_S)
    try:
        return await greeted(reader, writer, secret, is_head=False)
    except BaseException:
        writer.transport.abort()
        raise


async def answer_all(
    link: ProbeLink, name: str, tasks: Mapping[str, ProbeTask], silent_s: float = MOST_SILENT_S
) -> tuple[int, int]:
    """Until the head says that it is over: its bad findings of this node, and of all. The link is
    closed then. Raises ProbeFailed."""
    try:
        await link.send({"name": name})
        return await _answer_each(link, tasks, silent_s)
    finally:
        link.abort()


async def _answer_each(
    link: ProbeLink, tasks: Mapping[str, ProbeTask], silent_s: float
) -> tuple[int, int]:
    """A head that goes away ends what it asked for."""
    hearing = asyncio.ensure_future(link.receive())
    try:
        while True:
            await asyncio.wait([hearing], timeout=silent_s)
            if not hearing.done():
                raise ProbeFailed(f"the head asks nothing for {silent_s:g} s")
            asked = hearing.result()
            if "over" in asked:
                return _count(asked["over"]), _count(asked.get("all"))
            hearing = asyncio.ensure_future(link.receive())
            await link.send(await _unless_it_leaves(hearing, _answer(asked, tasks)))
    finally:
        hearing.cancel()
        await asyncio.gather(hearing, return_exceptions=True)


async def _unless_it_leaves(
    hearing: "asyncio.Future[dict[str, Any]]", answer: Coroutine[Any, Any, dict[str, Any]]
) -> dict[str, Any]:
    """Raises ProbeFailed once the link ends: nothing else comes before the answer has gone."""
    answering = asyncio.ensure_future(answer)
    try:
        await asyncio.wait([hearing, answering], return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            hearing.result()
            raise ProbeFailed("the head asks two things at once")
        return answering.result()
    finally:
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)


async def _answer(asked: Mapping[str, Any], tasks: Mapping[str, ProbeTask]) -> dict[str, Any]:
    try:
        arguments, seconds = asked["arguments"], min(float(asked["timeout_s"]), 600.0)
        return {"result": dict(await answered(tasks, str(asked["task"]), arguments, seconds))}
    except ProbeFailed as error:
        return {"failed": str(error)}
    except (KeyError, TypeError, ValueError):
        return {"failed": "that is no question"}


async def _lives(node: ProbedNode) -> bool:
    with contextlib.suppress(ProbeFailed):
        await node.channel.ask(CLOCK, {}, BEAT_S)
    return isinstance(node.channel, LinkChannel) and not node.channel.is_broken


def _count(said: object) -> int:
    return said if isinstance(said, int) and 0 <= said < 10_000 else 0


def _peer(writer: asyncio.StreamWriter) -> str:
    name = writer.get_extra_info("peername")
    return str(name[0]) if name else "somebody"
