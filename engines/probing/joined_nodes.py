"""Machines that have joined a head, asked over the links that they hold."""

from collections.abc import Mapping, Sequence
from typing import Any

from engines.errors import EngineUnavailable
from engines.joined.node import JoinedNode
from engines.probing.channel import OTHER_FJORD, ProbedNode, ProbeFailed
from engines.probing.findings import ProbeFinding

UNKNOWN = "no task here is called "
GONE = {
    "away": "its link is down for a moment, so it was not asked",
    "lost": "it has joined, and is there no more",
}
START = "start `fjord node` there again, where it is still meant"


class JoinedChannel:
    """Satisfies ProbeChannel."""

    def __init__(self, node: JoinedNode) -> None:
        self._node = node

    async def ask(
        self, task: str, arguments: Mapping[str, Any], timeout_s: float
    ) -> Mapping[str, Any]:
        """Raises ProbeFailed."""
        try:
            return await self._node.ask(task, arguments, timeout_s)
        except EngineUnavailable as error:
            raise ProbeFailed(_in_its_words(str(error), self._node.name)) from None


def _in_its_words(why: str, name: str) -> str:
    """Without its name, beneath which it will stand."""
    said = why.removeprefix(f"{name}: ")
    if said.startswith(f"{name} is "):
        said = f"it is {said.removeprefix(f'{name} is ')}"
    return OTHER_FJORD if said.startswith(UNKNOWN) else said[:400]


def probed_nodes(nodes: Sequence[JoinedNode]) -> list[ProbedNode]:
    """Those that are connected."""
    there = [node for node in nodes if node.is_connected]
    return [
        ProbedNode(node.name, JoinedChannel(node), node.address, is_joined=True) for node in there
    ]


def not_there(nodes: Sequence[JoinedNode]) -> list[ProbeFinding]:
    """A line for each of the others. One that is lost may have left for good."""
    return [
        ProbeFinding(
            node=node.name,
            name="answers",
            state="note" if node.is_lost else "bad",
            words=GONE[node.state],
            remedy=START if node.is_lost else "ask again",
        )
        for node in nodes
        if not node.is_connected
    ]
