"""The head's side of an engine on several machines: its nodes are found, compared, and started and
ended together."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import msgspec

from engines.errors import EngineUnavailable
from engines.joined.facts import differences
from engines.joined.node import JoinedNode
from engines.joined.nodes import JoinedNodes
from engines.joined.weights_print import TellWeights, WeightsPrint, difference
from engines.planning.engine_arguments import vllm_arguments
from engines.registry.several_machines import machines
from engines.registry.spec import EngineSpec
from engines.vllm.headless.parts import REACH_S, reached
from engines.vllm.network import free_port, is_loopback

_WEIGHTS_S: Final = 7 * 86_400.0
"""The engine's start has its own time."""
_ASK_S: Final = 20.0
_END_S: Final = 4.0
_PLACED: Final = ("device_ids",)
"""Arguments that say where the head's own part stands."""

log = logging.getLogger("fjord.vllm")


class NodeGroup:
    """Belongs to the event loop; made anew with each start."""

    def __init__(
        self, nodes: JoinedNodes, prints: TellWeights, spec: EngineSpec, path: str
    ) -> None:
        self._nodes, self._prints, self._path = nodes, prints, path
        self._spec = replace(spec, args=_without(spec.args, _PLACED))
        self._count = machines(spec.args) - 1
        self._cards = vllm_arguments(spec).cards_here
        self._members: list[tuple[JoinedNode, str]] = []
        self._compared: list[JoinedNode] = []
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Why it is no engine any more, once it is not."""
        self.waits_for: str | None = None
        """What its start waits for, in words."""

    async def others_here(self) -> None:
        """As many nodes as it needs are there, with the same versions and weights; they are taken
        by `begin`. Raises EngineUnavailable where those that are there can be none of them."""
        while len(fit := await self._fitting()) < self._count:
            await self._more(self._count - len(fit))
        await self._compare_weights(fit[: self._count])

    async def begin(self) -> Mapping[str, Any]:
        """Start the parts of all nodes; returns what the head's own part is told beside its
        arguments. Raises EngineUnavailable, and leaves nothing then, once `end` was called."""
        fit = await self._fitting()
        if len(fit) < self._count:
            raise EngineUnavailable(f"it {self._waiting(self._count - len(fit))}")
        self._take(fit[: self._count])
        await first_end(self.lost, self._compare_weights([node for node, _ in self._members]))
        address = self._master_address()
        await self._reach(address)
        told = {
            "nnodes": self._count + 1,
            "master_addr": address,
            "master_port": free_port(address),
            "distributed_executor_backend": "mp",
        }
        await self._of_each(
            lambda rank, node, part: self._start(node, part, {**told, "node_rank": rank})
        )
        return {**told, "node_rank": 0}

    async def _start(self, node: JoinedNode, part: str, told: Mapping[str, Any]) -> None:
        spec = msgspec.to_builtins(self._spec)
        await node.ask("part.start", {"part": part, "spec": spec, "arguments": told}, _ASK_S)
        node.has_begun(part)

    async def is_ready(self) -> None:
        """The engine serves."""
        with contextlib.suppress(EngineUnavailable):
            await self._of_each(
                lambda _, node, part: node.ask("part.ready", {"part": part}, _ASK_S)
            )

    async def end(self) -> None:
        """Every part; those of lost nodes end by themselves. Idempotent."""
        members, self._members = self._members, []
        for node, part in members:
            node.unwatch(part)
        asked = [node.ask("part.end", {"part": part}, _END_S) for node, part in members]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_S):
                await asyncio.gather(*asked, return_exceptions=True)

    def gave_up(self) -> None:
        """Its start had no more time: what it was about."""
        if self.waits_for is None:
            names = ", ".join(node.name for node, _ in self._members)
            self.waits_for = f"waits for its parts, here and on {names}"

    def _lose(self, why: str) -> None:
        if not self.lost.done():
            self.lost.set_result(why)

    async def _fitting(self) -> list[JoinedNode]:
        """Nodes that it might take, the best first. Raises EngineUnavailable where there are
        enough, and too few of them have this server's versions."""
        here = await self._nodes.facts()
        able = [node for node in self._nodes.connected if self._has_room(node)]
        fit = [node for node in able if not list(differences(node.facts, here))]
        if len(fit) < self._count <= len(able):
            self.waits_for = None
            raise EngineUnavailable("; ".join(_unfit(able, here)))
        return sorted(fit, key=lambda node: (len(node.wanted), node.name))

    async def _more(self, missing: int) -> None:
        """Until something has changed."""
        self._wait_for(self._waiting(missing))
        await self._nodes.changed()

    def _take(self, nodes: Sequence[JoinedNode]) -> None:
        for node in nodes:
            part = f"{self._spec.key}-{secrets.token_hex(4)}"
            node.wanted[part] = self._cards
            self._members.append((node, part))
            node.watch(part, self._lose)

    def _has_room(self, node: JoinedNode) -> bool:
        cards = len(node.facts.cards)
        return not cards or cards - sum(node.wanted.values()) >= self._cards

    def _waiting(self, missing: int) -> str:
        nodes = "1 more node" if missing == 1 else f"{missing} more nodes"
        return f"waits for {nodes}: fjord node --join {self._nodes.address}"

    def _wait_for(self, what: str) -> None:
        if what != self.waits_for:
            log.info("engine %s %s", self._spec.key, what)
        self.waits_for = what

    async def _compare_weights(self, nodes: Sequence[JoinedNode]) -> None:
        """Of those that were not compared before: a node that has them may read them all anew."""
        new = [node for node in nodes if node not in self._compared]
        if not new:
            return
        spec = {"spec": msgspec.to_builtins(self._spec)}
        here = await asyncio.to_thread(self._prints, self._spec, Path(self._path))
        self._wait_for(f"waits for the weights on {', '.join(node.name for node in new)}")
        await _all_or_first([self._same(node, spec, here) for node in new])
        self._compared += new
        self.waits_for = None

    async def _same(self, node: JoinedNode, spec: Mapping[str, Any], here: WeightsPrint) -> None:
        found = await node.ask("part.weights", spec, _WEIGHTS_S)
        try:
            there = msgspec.convert(found, WeightsPrint)
        except msgspec.ValidationError:
            raise EngineUnavailable(f"{node.name}: it does not tell its weights") from None
        if (what := difference(there, here)) is not None:
            raise EngineUnavailable(
                f"{node.name} has other weights of {self._spec.source} than this server: {what}"
            )

    def _master_address(self) -> str:
        """The head's, as the first node knows it. Raises EngineUnavailable for one that is each
        machine's own."""
        node = self._members[0][0]
        for each, _ in self._members:
            is_own = not each.head_address or is_loopback(each.head_address)
            if is_own and not is_loopback(each.address):
                break
            if is_own and each.facts.boot != self._nodes.boot:
                break
        else:
            return node.head_address
        raise EngineUnavailable(
            f"{each.name} has reached this server at {each.head_address or 'a socket'}, which no "
            "other machine reaches: join it by an address of this machine's in their network"
        )

    async def _reach(self, address: str) -> None:
        """Both ways, on ports that nobody has opened in a firewall: the parts choose theirs."""
        server = await asyncio.start_server(lambda reader, writer: writer.close(), address, 0)
        port = server.sockets[0].getsockname()[1]
        try:
            await self._of_each(lambda _, node, __: self._reach_both(node, address, port))
        finally:
            server.close()

    async def _reach_both(self, node: JoinedNode, address: str, port: int) -> None:
        try:
            await node.ask("part.reach", {"address": address, "port": port}, REACH_S + 2)
            found = await node.ask("part.listen", {}, REACH_S)
            await reached(str(found["address"]), int(found["port"]))
        except (EngineUnavailable, KeyError, TypeError, ValueError, OverflowError) as error:
            words = f"{error}; all ports between the machines of an engine have to be open"
            raise EngineUnavailable(f"Between {node.name} and this server: {words}") from None

    async def _of_each(self, asked: Callable[[int, JoinedNode, str], Awaitable[Any]]) -> None:
        """Of all at once, by rank; the first failure, or loss, ends all."""
        work = [asked(rank, node, part) for rank, (node, part) in enumerate(self._members, 1)]
        await first_end(self.lost, _all_or_first(work))


async def _all_or_first(work: Sequence[Awaitable[Any]]) -> None:
    """The first failure ends all."""
    running = [asyncio.ensure_future(each) for each in work]
    try:
        await asyncio.gather(*running)
    finally:
        for each in running:
            each.cancel()


async def first_end(lost: "asyncio.Future[str]", work: Awaitable[Any]) -> None:
    """Raises EngineUnavailable with why it is `lost`, where that comes before the end of `work`,
    which is cancelled then; else what that raises."""
    working = asyncio.ensure_future(work)
    both: list[asyncio.Future[Any]] = [lost, working]
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise EngineUnavailable(lost.result())
        working.result()
    finally:
        working.cancel()


def _unfit(nodes: Sequence[JoinedNode], here: Any) -> Iterator[str]:
    for node in nodes:
        if found := ", ".join(differences(node.facts, here)):
            yield f"{node.name} has {found}"


def _without(args: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in args.items() if name not in names}
