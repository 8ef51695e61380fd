"""What each engine of a node takes of its memory: the plan's figures, by which the fleet places."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from engines.fleet.device_memory import DeviceMemory, MemoryNeed
from engines.memory_in_use import MemoryInUse
from engines.planning.demands import Fit, capacity, fit
from engines.planning.engine_arguments import UTILISATION, is_bound_here, vllm_arguments
from engines.planning.facts import ModelFacts
from engines.planning.machine import Machine
from engines.planning.measured import MeasuredMemory, measured_on
from engines.planning.need import asleep_bytes, on_card
from engines.planning.plan import AskedEngine, Placed, plan
from engines.registry.spec import EngineSpec

_HOST_PART = 0.9
"""Of the machine's memory: the rest is the server's and the system's."""
_SPARE_PART = 0.5
"""Of what a card has beside what engines may fill: who sleeps may keep it."""
_LEFT_PART = 0.1
"""Of a card: as much of it caches leave, beside that, to others that sleep on it."""
_MOST_LAYERS = 128
"""Of a model that nobody knows."""

Facts = Callable[[EngineSpec], ModelFacts | None]


class NodeShares:
    """Planned once for all engines; one whose model was not known then is looked at again once its
    weights are there."""

    def __init__(
        self,
        asked: Sequence[AskedEngine],
        machine: Machine,
        facts: Facts,
        measured: MeasuredMemory | None = None,
        host_bytes: int | None = None,
    ) -> None:
        """`facts`: of weights that are on this machine, None where they cannot be told; asked in a
        thread. `host_bytes`: what engines may take of the machine's memory, where an operator says
        it."""
        self._machine, self._facts, self._measured = machine, facts, measured
        found = None if machine.host_bytes is None else int(machine.host_bytes * _HOST_PART)
        sizes = tuple(capacity(card) for card in machine.cards)
        beside = [card.total_bytes - size for card, size in zip(machine.cards, sizes, strict=True)]
        spare = tuple(int(left * _SPARE_PART) for left in beside)
        self.room = DeviceMemory(sizes, host_bytes or found, UTILISATION, spare, machine.nodes)
        self.plan = plan([each for each in asked if each.facts], machine, measured)
        self._planned = {each.asked.spec.key: each for each in self.plan.engines}
        self._asleep = {
            each.spec.key: _asleep_bytes(each.spec, each.facts)
            for each in asked
            if may_sleep(each.spec)
        }

    def need(self, spec: EngineSpec) -> MemoryNeed | None:
        """None: it takes nothing here, or nobody can say what. Reads files."""
        if spec.kind == "scripted" or vllm_arguments(spec).is_elsewhere:
            return None
        placed = self._planned.get(spec.key)
        facts = self._facts(spec) if placed is None else placed.asked.facts
        if placed is not None:
            need: MemoryNeed | None = self._planned_need(placed)
        else:
            need = self._unknown(spec) if facts is None else self._alone(spec, facts)
        if need is None:
            return None
        return self._with_sleep(replace(need, is_bound=is_bound_here(spec)), spec, facts)

    def _with_sleep(
        self, need: MemoryNeed, spec: EngineSpec, facts: ModelFacts | None
    ) -> MemoryNeed:
        """What it keeps while it sleeps, where it was started for that."""
        if not may_sleep(spec) or not need.devices:
            return need
        kept = _asleep_bytes(spec, facts)
        weights = 0
        if facts is not None:
            found = fit(spec, facts, self._machine, self._measured).need
            weights = found.weights_bytes * need.devices
        return replace(need, asleep_bytes_each=min(need.bytes_each, kept), weights_bytes=weights)

    def note(self, spec: EngineSpec, cards: Sequence[int], uses: Sequence[MemoryInUse]) -> None:
        """What it took of its cards: the fullest of them counts in the next plan. Writes a file;
        raises OSError."""
        facts = self._facts(spec)
        if self._measured is None or facts is None or any(use.total_bytes is None for use in uses):
            return
        card = self._machine.cards[cards[0]]
        planned = on_card(facts, vllm_arguments(spec), card, None)
        self._measured.note(spec, measured_on(card, uses, planned.token_bytes))

    def _planned_need(self, placed: Placed) -> MemoryNeed:
        spec, found = placed.asked.spec, placed.fit
        assert found is not None
        assert placed.asked.facts is not None
        is_whole = self.room.is_elsewhere(max(placed.cards, default=0))
        if not placed.turn or not found.demand.claims or not self._may_grow(spec) or is_whole:
            return self._alone(spec, placed.asked.facts, placed.cards)
        need = found.need
        cache = max(need.stream_bytes, placed.kv_bytes - self._left_to_sleepers(spec))
        return MemoryNeed(
            bytes_each=need.weights_bytes + need.reserve_bytes + cache,
            devices=len(placed.cards),
            host_bytes=self._of_host(found.demand.host_bytes),
            preferred=placed.cards,
        )

    def _left_to_sleepers(self, spec: EngineSpec) -> int:
        """Of each of its cards, to all others that can sleep there."""
        others = sum(kept for key, kept in self._asleep.items() if key != spec.key)
        spare, size = min(self.room.spare, default=0), min(self.room.sizes, default=0)
        return max(0, min(int(size * _LEFT_PART), others - spare))

    def _may_grow(self, spec: EngineSpec) -> bool:
        """Whether its cache takes what is left of its cards: vLLM's, unless it was told."""
        args = vllm_arguments(spec)
        return spec.kind == "vllm" and args.utilisation is None and args.kv_bytes is None

    def _alone(
        self, spec: EngineSpec, facts: ModelFacts, preferred: tuple[int, ...] = ()
    ) -> MemoryNeed:
        """What a plan finds too large by its estimates is tried alone: what is certain was refused
        before it was fetched."""
        found = fit(spec, facts, self._machine, self._measured)
        demand = found.demand
        if not demand.world:
            return MemoryNeed(devices=0, host_bytes=self._of_host(demand.host_bytes))
        if not demand.claims:
            return self._whole(demand.world, self._of_host(demand.host_bytes))
        return MemoryNeed(
            bytes_each=self._here(found),
            devices=demand.world,
            host_bytes=self._of_host(demand.host_bytes),
            preferred=preferred,
        )

    def _here(self, found: Fit) -> int:
        """Of a card here, though on other machines it has them whole."""
        kinds = list(dict.fromkeys(self._machine.cards))
        claims = [size for kind, size in found.demand.claims.items() if not kinds[kind].node]
        return max(claims, default=found.need.least_bytes)

    def _unknown(self, spec: EngineSpec) -> MemoryNeed | None:
        """Alone on its cards; in the machine's memory nobody can say."""
        if spec.kind != "vllm" or not self.room.sizes:
            return None
        return self._whole(vllm_arguments(spec).cards_here)

    def _whole(self, cards: int, host_bytes: int = 0) -> MemoryNeed:
        able = sorted(self.room.sizes, reverse=True)[:cards]
        return MemoryNeed(bytes_each=min(able, default=0), devices=cards, host_bytes=host_bytes)

    def _of_host(self, wanted: int) -> int:
        most = self.room.host_bytes
        return wanted if most is None else min(wanted, most)


def may_sleep(spec: EngineSpec) -> bool:
    """By its arguments."""
    return spec.kind == "vllm" and spec.args.get("enable_sleep_mode") is True


def _asleep_bytes(spec: EngineSpec, facts: ModelFacts | None) -> int:
    layers = _MOST_LAYERS if facts is None else facts.layers
    return asleep_bytes(layers, vllm_arguments(spec))
