"""Whether nodes answer: asked of an actor on each, as Ray itself takes half a minute to notice."""

import time
from collections.abc import Iterable
from typing import Any

from engines.vllm.ray.remote import RayPulse

SILENT_S = 5.0
"""A node that answers nothing for so long is gone. An answer takes milliseconds, on a busy machine
some tenths of a second."""
BEAT_S = 0.5


class Pulses:
    """`nodes`: id -> address, for words. All methods return within `BEAT_S`."""

    def __init__(self) -> None:
        self._actors: dict[str, Any] = {}
        self._asked: dict[str, Any] = {}
        self._heard: dict[str, float] = {}

    def watch(self, nodes: Iterable[str]) -> None:
        """These, and no others; each counts as heard now."""
        wanted = set(nodes)
        for gone in self._actors.keys() - wanted:
            del self._actors[gone], self._heard[gone]
            self._asked.pop(gone, None)
        for node in wanted - self._actors.keys():
            self._actors[node] = pulse_on(node)
            self._heard[node] = time.monotonic()

    def beat(self) -> None:
        """Ask those that have answered, and wait a moment for answers."""
        import ray

        for node, actor in self._actors.items():
            if node not in self._asked:
                self._asked[node] = actor.beat.remote()
        began = time.monotonic()
        waiting = {ref: node for node, ref in self._asked.items()}
        answered, _ = ray.wait(list(waiting), num_returns=len(waiting), timeout=BEAT_S)
        for ref in answered:
            self._take(waiting[ref], ref)
        time.sleep(max(0.0, BEAT_S - (time.monotonic() - began)))

    def _take(self, node: str, ref: Any) -> None:
        """An actor that died answers nothing: where its node lives it gets another."""
        import ray

        del self._asked[node]
        try:
            ray.get(ref)
            self._heard[node] = time.monotonic()
        except ray.exceptions.RayError:
            self._actors[node] = pulse_on(node)

    def has(self, node: str, path: str) -> Any:
        """Asked of a node; a reference."""
        return self._actors[node].has.remote(path)

    def reaches(self, node: str, address: str) -> Any:
        """Asked of a node; a reference."""
        return self._actors[node].reaches.remote(address)

    def silent(self) -> list[str]:
        now = time.monotonic()
        return [node for node, heard in self._heard.items() if now - heard > SILENT_S]


def pulse_on(node: str) -> Any:
    """An actor there."""
    import ray

    return ray.remote(RayPulse).options(num_cpus=0, scheduling_strategy=on_node(node)).remote()


def on_node(node: str) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node, soft=False)
