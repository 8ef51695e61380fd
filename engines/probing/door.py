"""Both ways into a link: a head waits for nodes, a node comes to its head and answers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from engines.probing.channel import ProbedNode, ProbeFailed, ProbeTask, answered
from engines.probing.link import LinkChannel, ProbeLink, greeted

MOST_WAITING: Final = 32
"""Connections that have proved nothing yet."""
MOST_NAMED: Final = 20
"""Of those that were sent away."""
CONNECT_S: Final = 5.0
AGAIN_S: Final = 0.5
MOST_SILENT_S: Final = 600.0
"""A node waits so long for its head's next question: others may have to be waited for."""
MOST_NAME: Final = 64


class ProbeDoor:
    """A head's: who has the secret becomes a node, until there are `wanted`."""

    def __init__(
        self, secret: str, wanted: int, told: Callable[[str], None], *, names: tuple[str, ...] = ()
    ) -> None:
        """`told` gets a line for each that came, and for each that was sent away."""
        self.nodes: list[ProbedNode] = []
        self._secret, self._wanted, self._told = secret, wanted, told
        self._names = set(names)
        self._links: list[ProbeLink] = []
        self._waiting = self._strangers = 0
        self._full = asyncio.Event()

    async def all_here(self, timeout_s: float) -> bool:
        """False: the time is over before all came."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._full.wait()
        return self._full.is_set()

    async def came(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._waiting >= MOST_WAITING or self._full.is_set():
            writer.transport.abort()
            return
        self._waiting += 1
        try:
            await self._let_in(await greeted(reader, writer, self._secret, is_head=True))
        except (ProbeFailed, TimeoutError) as error:
            self._sent_away(_peer(writer), error)
            writer.close()
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
        self._links.append(link)
        self.nodes.append(ProbedNode(name, LinkChannel(link), link.peer_address))
        self._told(f"{name} is here, from {link.peer_address}")
        if len(self.nodes) >= self._wanted:
            self._full.set()

    def _free_name(self, name: str, address: str) -> str:
        name = "".join(c if c.isprintable() else "?" for c in name)
        found = name if name not in self._names else f"{name}@{address}"
        while found in self._names:
            found += "+"
        self._names.add(found)
        return found

    async def over(self, bad: Mapping[str, int]) -> None:
        """Tell each how many of its findings are bad, and let it go."""
        for node, link in zip(self.nodes, self._links, strict=True):
            with contextlib.suppress(ProbeFailed):
                await link.send({"over": bad.get(node.name, 0), "all": sum(bad.values())})
                await link.close()

    @property
    def own_address(self) -> str:
        """By which nodes came; "": none did."""
        return self._links[0].own_address if self._links else ""

    @asynccontextmanager
    async def open(self, host: str, port: int) -> AsyncIterator[int]:
        """The port on which it waits. Raises OSError."""
        server = await asyncio.start_server(self.came, host or None, port, backlog=MOST_WAITING)
        try:
            yield int(server.sockets[0].getsockname()[1])
        finally:
            server.close()
            for link in self._links:
                link.abort()


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
    return await greeted(reader, writer, secret, is_head=False)


async def answer_all(
    link: ProbeLink, name: str, tasks: Mapping[str, ProbeTask], silent_s: float = MOST_SILENT_S
) -> tuple[int, int]:
    """Until the head says that it is over: its bad findings of this node, and of all. Raises
    ProbeFailed."""
    await link.send({"name": name})
    while True:
        try:
            async with asyncio.timeout(silent_s):
                asked = await link.receive()
        except TimeoutError:
            raise ProbeFailed(f"the head asks nothing for {silent_s:g} s") from None
        if "over" in asked:
            return int(asked["over"]), int(asked.get("all", 0))
        await link.send(await _answer(asked, tasks))


async def _answer(asked: Mapping[str, Any], tasks: Mapping[str, ProbeTask]) -> dict[str, Any]:
    try:
        arguments, seconds = asked["arguments"], min(float(asked["timeout_s"]), 600.0)
        return {"result": dict(await answered(tasks, str(asked["task"]), arguments, seconds))}
    except ProbeFailed as error:
        return {"failed": str(error)}
    except (KeyError, TypeError, ValueError):
        return {"failed": "that is no question"}


def _peer(writer: asyncio.StreamWriter) -> str:
    name = writer.get_extra_info("peername")
    return str(name[0]) if name else "somebody"
