"""Tells the front which nodes the cluster has, what they have, and which of them answer."""

from collections.abc import Iterator, Mapping
from multiprocessing.connection import Connection
from typing import Any

from engines.vllm.ray.pulses import Pulses, on_node
from engines.vllm.ray.remote import machine_facts
from engines.vllm.ray.wire import Alive, RayNode, RayNodes


def observe(pipe: "Connection[Any, Any]", own: str | None) -> None:
    """For ever: `RayNodes` at first and whenever they change, else `Alive`."""
    seen, told = _Seen(), None
    while True:
        now = RayNodes(tuple(seen.nodes(own)))
        pipe.send(Alive() if now == told else now)
        told = now
        seen.pulses.beat()


class _Seen:
    """A node is asked once what it has, and again after a silence."""

    def __init__(self) -> None:
        self.pulses = Pulses()
        self._asked: dict[str, Any] = {}
        self._facts: dict[str, Mapping[str, Any]] = {}

    def nodes(self, own: str | None) -> Iterator[RayNode]:
        listed = [row for row in _listed() if row["NodeID"] != own]
        self.pulses.watch(row["NodeID"] for row in listed)
        answering = {row["NodeID"] for row in listed} - set(self.pulses.silent())
        self._facts = {node: self._facts[node] for node in answering & self._facts.keys()}
        self._ask(answering)
        for row in listed:
            yield _node(row, self._facts.get(row["NodeID"], {}))

    def _ask(self, nodes: set[str]) -> None:
        """Those that have not told yet; takes what they tell."""
        import ray

        self._asked = {node: self._asked[node] for node in nodes & self._asked.keys()}
        for node in nodes - self._facts.keys() - self._asked.keys():
            self._asked[node] = _task(node)
        for node, ref in [*self._asked.items()]:
            if ray.wait([ref], timeout=0)[0]:
                del self._asked[node]
                self._facts |= {node: facts} if (facts := _facts(ref)) else {}


def _node(row: Mapping[str, Any], facts: Mapping[str, Any]) -> RayNode:
    return RayNode(
        node=row["NodeID"],
        name=row.get("NodeManagerHostname", ""),
        address=row["NodeManagerAddress"],
        gpus=int(row.get("Resources", {}).get("GPU", 0)),
        facts=facts,
    )


def _listed() -> list[Mapping[str, Any]]:
    """Those with cards, the same order each time."""
    import ray

    rows = [row for row in ray.nodes() if row["Alive"] and row.get("Resources", {}).get("GPU")]
    return sorted(rows, key=lambda row: (row["NodeManagerAddress"], row["NodeID"]))


def _task(node: str) -> Any:
    import ray

    options = {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": on_node(node)}
    return ray.remote(machine_facts).options(**options).remote()


def _facts(ref: Any) -> Mapping[str, Any]:
    import ray

    try:
        return dict(ray.get(ref))
    except (ray.exceptions.RayError, TypeError, ValueError):
        return {}
