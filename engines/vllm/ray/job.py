"""One engine on other machines: its cards claimed, its core started, its nodes watched."""

import os
import time
from multiprocessing.connection import Connection
from typing import Any

from engines.vllm.ray.failure import NodeFailure, words
from engines.vllm.ray.pulses import SILENT_S, Pulses
from engines.vllm.ray.remote import EngineHost
from engines.vllm.ray.wire import Alive, AskedOfNodes, Loaded

_CLAIM_S = 20.0
_ASK_S = 5.0


class EngineJob:
    """`run` returns never: it raises what ended the engine."""

    def __init__(self, pipe: "Connection[Any, Any]", asked: AskedOfNodes) -> None:
        self._pipe, self._asked = pipe, asked
        self._nodes = self._found()
        """id -> address."""
        self._pulses = Pulses()
        self._host: Any = None

    def run(self) -> None:
        self._pulses.watch(self._nodes)
        self._reach()
        is_path = self._has_path()
        group = self._claimed()
        self._host = self._actor(group)
        arguments = {**self._asked.arguments, **({} if is_path else self._fetched())}
        self._pipe.send(Alive())
        made = self._host.make.remote(arguments, self._asked.sockets, self._is_spread)
        config = self._until(made, self._asked.start_s, "its start")
        self._pipe.send(Loaded(config, is_path))
        self._got(self._until_over())
        raise NodeFailure(f"it ended by itself on {self._where}")

    def _fetched(self) -> dict[str, str | None]:
        """The weights as the nodes get them themselves."""
        revision = self._asked.revision
        return {"model": self._asked.hub, "revision": revision, "tokenizer_revision": revision}

    @property
    def _is_spread(self) -> bool:
        return len(self._asked.seats) > 1

    @property
    def _where(self) -> str:
        return ", ".join(seat.node for seat in self._asked.seats)

    def _found(self) -> dict[str, str]:
        import ray

        alive = {row["NodeManagerAddress"]: row["NodeID"] for row in ray.nodes() if row["Alive"]}
        for seat in self._asked.seats:
            if seat.node not in alive:
                raise NodeFailure(f"node {seat.node} is not in the Ray cluster any more")
        return {alive[seat.node]: seat.node for seat in self._asked.seats}

    def _reach(self) -> None:
        """Each of its nodes must reach the front's sockets, or its tokens would come to nobody."""
        for node, where in self._nodes.items():
            for socket in self._asked.sockets:
                if not self._until(self._pulses.reaches(node, socket), _ASK_S, "an answer"):
                    raise NodeFailure(f"node {where} does not reach {socket} of this server")

    def _has_path(self) -> bool:
        """Whether all its nodes see the weights where the front does. Raises where they can get
        them in no other way."""
        missing = [where for node, where in self._nodes.items() if not self._sees(node)]
        if missing and self._asked.hub is None:
            where = self._asked.path
            raise NodeFailure(
                f"node {missing[0]} does not see {where}: put it there, or on a shared disk"
            )
        return not missing

    def _sees(self, node: str) -> bool:
        return bool(self._until(self._pulses.has(node, self._asked.path), _ASK_S, "an answer"))

    def _claimed(self) -> Any:
        import ray

        seats = self._asked.seats
        if self._is_spread:
            bundles = [_bundle(seat.node, GPU=1) for seat in seats for _ in range(seat.cards)]
            bundles.append(_bundle(seats[0].node, CPU=1))
        else:
            bundles = [_bundle(seats[0].node, GPU=seats[0].cards, CPU=1)]
        group = ray.util.placement_group(bundles, strategy="PACK", name=f"fjord-{os.getpid()}")
        try:
            self._until(group.ready(), _CLAIM_S, "its cards")
        except _TookTooLong:
            raise NodeFailure(
                f"Ray has not {self._cards} free on {self._where}: another program of the cluster "
                "holds them (`ray status` says)"
            ) from None
        return group

    @property
    def _cards(self) -> str:
        count = sum(seat.cards for seat in self._asked.seats)
        return f"{count} GPU{'' if count == 1 else 's'}"

    def _actor(self, group: Any) -> Any:
        import ray
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        last = len(group.bundle_specs) - 1
        place = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=last)
        cards = 0 if self._is_spread else self._asked.seats[0].cards
        options = {"num_cpus": 1, "num_gpus": cards, "scheduling_strategy": place}
        return ray.remote(EngineHost).options(**options).remote(dict(self._asked.environment))

    def _until(self, ref: Any, limit_s: float, what: str) -> Any:
        """What it returns. Raises NodeFailure as soon as one of its nodes is silent."""
        import ray

        ends = time.monotonic() + limit_s
        while not ray.wait([ref], timeout=0)[0]:
            self._step()
            if time.monotonic() >= ends:
                raise _TookTooLong(f"{what} on {self._where} took longer than {limit_s:g} s")
        return self._got(ref)

    def _until_over(self) -> Any:
        import ray

        running = self._host.run.remote()
        while not ray.wait([running], timeout=0)[0]:
            self._step()
        return running

    def _step(self) -> None:
        self._pulses.beat()
        if silent := self._pulses.silent():
            where = ", ".join(self._nodes[node] for node in silent)
            raise NodeFailure(f"node {where} has not answered for {SILENT_S:g} s")
        self._pipe.send(Alive())

    def _got(self, ref: Any) -> Any:
        import ray

        try:
            return ray.get(ref)
        except ray.exceptions.RayActorError as error:
            said = words(error)
            raise NodeFailure(f"its process on {self._where} is gone ({said})") from error
        except ray.exceptions.RayError as error:
            raise NodeFailure(f"on {self._where}: {words(error)}") from error


class _TookTooLong(NodeFailure):
    pass


def _bundle(node: str, **resources: float) -> dict[str, float]:
    return {**resources, f"node:{node}": 0.001}
