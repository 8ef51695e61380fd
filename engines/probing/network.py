"""The network between machines: which addresses and ports reach each other, and how fast it is."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Final

from engines.probing.asking import ask, of_all
from engines.probing.channel import ProbedNode, ProbeFailed
from engines.probing.findings import ProbeFinding
from engines.probing.links import LinkEnd, link
from engines.probing.listeners import MOST_PORTS, NUMBER_BYTES
from engines.probing.paths import Paths, TriedPorts, address, ports
from engines.probing.reaching import Outcome, ReachTarget
from engines.probing.told import NodeTold
from engines.probing.wire import LISTEN, REACH, Listen, Listening, ReachedAll, TryPorts

ASK_S: Final = 10.0
STOP_S: Final = 2.0
REACH_S: Final = 60.0
LISTEN_S: Final = 150.0
FREE_PORTS: Final = 2


class ProbedNetwork:
    """Of machines that all told of themselves, the head first."""

    def __init__(
        self, nodes: Sequence[ProbedNode], told: Mapping[str, NodeTold], wanted: Sequence[int]
    ) -> None:
        self._nodes = {node.name: node for node in nodes}
        self._told, self._wanted = told, tuple(wanted)
        self._numbers = {name: secrets.token_hex(NUMBER_BYTES) for name in self._nodes}
        self._listening: dict[str, Listening] = {}
        self._lost: set[str] = set()
        self.paths = {
            node.name: Paths(node.name, told[node.name], node.address, is_joined=node.is_joined)
            for node in nodes
        }
        self._tried: dict[str, dict[str, dict[int, Outcome]]] = {}
        """Of whose ports, then by whom."""
        self.found: list[ProbeFinding] = []

    async def probe(self) -> None:
        """All of it, into `found`; nobody listens any more when it ends."""
        try:
            await self._listen()
            await self._addresses()
            await self._ports()
            await self._links()
        finally:
            await of_all(self._nodes.values(), self._stop_listening)

    def port_of(self, name: str) -> int | None:
        """On which it listened, the first that a start wants if that is free."""
        said = self._listening.get(name)
        if said is None:
            return None
        open_ = [port for port, why in zip(self._wanted, said.ports, strict=True) if not why]
        return next(iter((*open_, *said.free)), None)

    async def _listen(self) -> None:
        self._listening, failed = await of_all(self._nodes.values(), self._listen_on)
        for name, why in failed.items():
            self._lose(name, why)

    async def _listen_on(self, node: ProbedNode) -> Listening:
        asked = Listen(
            number=self._numbers[node.name],
            ports=self._wanted,
            free=FREE_PORTS,
            seconds=LISTEN_S,
        )
        said = await ask(node, LISTEN, asked, Listening, ASK_S)
        if len(said.ports) != len(self._wanted) or len(said.free) != FREE_PORTS:
            raise ProbeFailed("it cannot listen on as many ports")
        return said

    async def _stop_listening(self, node: ProbedNode) -> Listening:
        return await ask(node, LISTEN, Listen(), Listening, STOP_S)

    async def _addresses(self) -> None:
        """Each by every other, on one or two of its ports."""
        first = {name: self._first_ports(name) for name in self._listening}
        targets = [
            (to, ReachTarget(address=each, ports=first[to], number=self._numbers[to]))
            for to in self._listening
            for each in self.paths[to].candidates
        ]
        for by, to, target, outcomes in await self._reach(targets):
            best: Outcome = "ok" if "ok" in outcomes else outcomes[0]
            self.paths[to].reached.setdefault(target.address, {})[by] = best
        for name in self._listening:
            self.found.append(address(self.paths[name]))

    def _first_ports(self, name: str) -> tuple[int, ...]:
        said = self._listening[name]
        port = self.port_of(name)
        return tuple(dict.fromkeys([*([port] if port else []), *said.free[:1]]))

    async def _ports(self) -> None:
        self._tried = {name: {} for name in self._listening}
        targets = []
        for to, said in self._listening.items():
            open_ = [port for port, why in zip(self._wanted, said.ports, strict=True) if not why]
            where = self.paths[to].chosen
            if where and (each := (*open_, *said.free)[:MOST_PORTS]):
                target = ReachTarget(address=where, ports=each, number=self._numbers[to])
                targets.append((to, target))
        for by, to, target, outcomes in await self._reach(targets):
            self._tried[to][by] = dict(zip(target.ports, outcomes, strict=True))
        for to, said in self._listening.items():
            wanted = dict(zip(self._wanted, said.ports, strict=True))
            self.found += ports(TriedPorts(self.paths[to], wanted, said.free, self._tried[to]))

    async def _reach(
        self, targets: Sequence[tuple[str, ReachTarget]]
    ) -> Sequence[tuple[str, str, ReachTarget, tuple[Outcome, ...]]]:
        """By whom, to whom, what, and how it went."""

        async def by(node: ProbedNode) -> list[tuple[str, str, ReachTarget, tuple[Outcome, ...]]]:
            others = [(to, target) for to, target in targets if to != node.name]
            asked = TryPorts(targets=tuple(target for _, target in others))
            said = (await ask(node, REACH, asked, ReachedAll, REACH_S)).reached
            told = [len(each.outcomes) for each in said]
            if told != [len(target.ports) for _, target in others]:
                raise ProbeFailed("its answer has another length")
            return [
                (node.name, to, target, each.outcomes)
                for (to, target), each in zip(others, said, strict=True)
            ]

        asked = (node for name, node in self._nodes.items() if name not in self._lost)
        reached, failed = await of_all(asked, by)
        for name, why in failed.items():
            self._lose(name, f"it could not try others: {why}")
        return [each for tried in reached.values() for each in tried]

    async def _links(self) -> None:
        """Of each with the head, one after the other, both ways."""
        head, *others = self._nodes.values()
        for node in others:
            ends = (
                LinkEnd(node, self._target(node.name, head.name)),
                LinkEnd(head, self._target(head.name, node.name)),
            )
            mtus = tuple(self.paths[end.node.name].mtu for end in ends)
            if (found := await link(*ends, mtus)) is not None:
                self.found.append(found)

    def _target(self, name: str, by: str) -> ReachTarget | None:
        """A port of it that the other reached."""
        reached = self._tried.get(name, {}).get(by, {})
        open_ = [port for port, outcome in reached.items() if outcome == "ok"]
        if not open_:
            return None
        where, number = self.paths[name].chosen, self._numbers[name]
        return ReachTarget(address=where, ports=(open_[-1],), number=number)

    def _lose(self, name: str, why: str) -> None:
        """It is asked no more, and said to be bad once."""
        self._lost.add(name)
        self.found.append(ProbeFinding(node=name, name="ports", state="bad", words=why))
