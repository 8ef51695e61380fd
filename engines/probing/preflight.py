"""All probes of all machines, in an order in which each says something new; bounded as a whole."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from engines.probing import findings
from engines.probing.asking import ask, of_all
from engines.probing.channel import ProbedNode, ProbeFailed
from engines.probing.files import SeenWeights, WantedWeights
from engines.probing.findings import ProbeFinding
from engines.probing.group import Backend, handshake, untried
from engines.probing.network import ProbedNetwork
from engines.probing.told import NodeTold
from engines.probing.wire import CLOCK, TELL, WEIGHTS, LookFor, SeenAll, TimeTold

BOUND_S: Final = 180.0
MOST_NODES: Final = 16
TELL_S, CLOCK_S, WEIGHTS_S = 30.0, 5.0, 60.0
ROUND_TRIPS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a start will want of the machines. `models` by how they are shown."""

    ports: Sequence[int] = ()
    models: Mapping[str, WantedWeights] = field(default_factory=dict)
    backends: Sequence[Backend] = ("gloo", "nccl")


class Preflight:
    """Of `nodes`, this machine first."""

    def __init__(
        self,
        nodes: Sequence[ProbedNode],
        wishes: Wishes,
        clock: Callable[[], float] = time.time,
        doing: Callable[[str], None] = lambda what: None,
    ) -> None:
        """`doing` is told what begins."""
        self._nodes, self._wishes, self._clock, self._doing = list(nodes), wishes, clock, doing
        self._head = self._nodes[0].name
        self._told: dict[str, NodeTold] = {}
        self._found: list[ProbeFinding] = []

    async def run(self, bound_s: float = BOUND_S) -> list[ProbeFinding]:
        """Node by node. What is not done when the time is over is said to be."""
        names = [node.name for node in self._nodes]
        try:
            async with asyncio.timeout(bound_s):
                await self._all()
        except TimeoutError:
            words = f"not all was probed within {bound_s:g} s"
            self._bad(self._head, "time", words)
        return sorted(self._found, key=lambda found: names.index(found.node))

    async def _all(self) -> None:
        self._doing("what each is")
        await self._tell()
        if self._head not in self._told:
            return
        self._machines()
        self._doing("clocks")
        await self._clocks()
        self._doing("addresses, ports and links")
        network = ProbedNetwork(self._nodes, self._told, self._wishes.ports)
        try:
            await network.probe()
        finally:
            self._found += network.found
        self._doing("weights")
        await self._weights()
        await self._groups(network)

    async def _tell(self) -> None:
        """Who says nothing is asked nothing more."""

        async def told(node: ProbedNode) -> NodeTold:
            return await ask(node, TELL, None, NodeTold, TELL_S)

        self._told, failed = await of_all(self._nodes, told)
        for name, why in failed.items():
            self._bad(name, "answers", why)
        self._nodes = [node for node in self._nodes if node.name in self._told]

    def _machines(self) -> None:
        head = self._told[self._head]
        for name, told in self._told.items():
            self._found += [
                findings.versions(name, told, head, self._head),
                findings.memory(name, told),
                findings.cards(name, told, head, self._head),
            ]

    async def _clocks(self) -> None:
        offsets, failed = await of_all(self._nodes[1:], self._offset)
        for name, (offset_s, unsure_s) in offsets.items():
            self._found.append(findings.clock(name, offset_s, unsure_s, self._head))
        for name, why in failed.items():
            self._bad(name, "clock", why)

    async def _offset(self, node: ProbedNode) -> tuple[float, float]:
        """How far its clock is ahead, by the quickest of some round trips, and half of that."""
        best = (0.0, float("inf"))
        for _ in range(ROUND_TRIPS):
            sent, began = self._clock(), time.monotonic()
            there = (await ask(node, CLOCK, None, TimeTold, CLOCK_S)).now
            half = (time.monotonic() - began) / 2
            if half < best[1]:
                best = (there - (sent + half), half)
        return best

    async def _weights(self) -> None:
        models = self._wishes.models
        if not models:
            return

        async def seen(node: ProbedNode) -> tuple[SeenWeights, ...]:
            asked = LookFor(models=tuple(models.values()))
            told = (await ask(node, WEIGHTS, asked, SeenAll, WEIGHTS_S)).seen
            if len(told) != len(models):
                raise ProbeFailed("its answer has another length")
            return told

        found, failed = await of_all(self._nodes, seen)
        for name, why in failed.items():
            self._bad(name, "weights", why)
        for at, shown in enumerate(models if self._head in found else ()):
            each = {name: told[at] for name, told in found.items()}
            self._found += findings.weights(shown, each)

    async def _groups(self, network: ProbedNetwork) -> None:
        """Where there are others, and everybody reaches everybody."""
        port = network.port_of(self._head)
        is_reached = port is not None and not any(each.state == "bad" for each in network.found)
        for backend in self._wishes.backends if len(self._nodes) > 1 else ():
            if (why := untried(backend, network.paths, is_reached)) is not None or port is None:
                self._untried(backend, why or "")
                continue
            self._doing(f"the handshake of {backend}")
            self._found += await handshake(backend, self._nodes, network.paths, port)

    def _untried(self, backend: Backend, why: str) -> None:
        for node in self._nodes:
            self._found.append(
                ProbeFinding(node=node.name, name=backend, state="note", words=f"not tried: {why}")
            )

    def _bad(self, name: str, what: str, why: str) -> None:
        self._found.append(ProbeFinding(node=name, name=what, state="bad", words=why))
