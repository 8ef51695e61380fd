"""A day of all shipped models on one node of 8 × H100, simulated: Fjord's turns beside other rules.

`python -m benchmarks.fleet_day` prints the table of docs/fleet.md and keeps its figures. Sizes are
the plan's, decisions the fleet's own; nothing is loaded. The same seed gives the same day.
"""

import argparse
import json
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.fleet_simulation import Arrival, Model, Served, Simulation, over_memory
from engines.fleet.device_memory import DeviceMemory, MemoryNeed
from engines.fleet.shares import NodeShares
from engines.fleet.sleep_rules import SleepRules, first_wake_s
from engines.fleet.turns import TurnRules
from engines.fleet.view import EngineView
from engines.planning.cards import parse_cards
from engines.planning.machine import Machine
from engines.registry.registry import load_registry
from engines.registry.spec import EngineSpec
from server.cli.registry_facts import asked_of

ROOT = Path(__file__).parent.parent
DAY_S = 86_400
READ_BYTES_S = 2.5e9
"""Of one NVMe disk."""
START_S = 45.0
"""Processes, compile from the cache, CUDA graphs: what vLLM's log says of an 8B model."""
STOP_S = 8.0
COPY_BYTES_S = 10e9
"""Of weights into the machine's memory."""
SLEEP = SleepRules(host_bytes=10**12)
REQUESTS = 5_000
LONGEST_S = 60.0
SEED = 20261126


class LeastRecentlyUsed(TurnRules):
    """No turns: who was used longest ago goes, a busy one as soon as it ended what it has."""

    def may_leave_at(self, engine: EngineView, *, to_patient: bool = False) -> float:
        at = super().may_leave_at(engine, to_patient=to_patient)
        return 0.0 if engine.state == "ready" and at < math.inf else at

    def loss(self, engine: EngineView, now: float) -> tuple[float, ...]:
        return (max(engine.ready_at, engine.used_at),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One rule's day."""

    rule: str
    loads: int
    wait_p50_s: float
    wait_p95_s: float
    longest_s: float
    at_once: float
    """The part of the requests that waited for no load and no turn."""


def shipped_node(
    cards: str = "8xH100-80", *, can_sleep: bool = False
) -> tuple[DeviceMemory, list[Model]]:
    """Of all aliases those that the node can hold; those that share an engine are one."""
    registry = load_registry(ROOT / "model_registry.yaml", "cuda")
    machine = Machine(cards=parse_cards(cards))
    asked = asked_of(registry.models.values(), Path("nowhere"), may_ask_hub=False)
    if can_sleep:
        asked = [replace(each, spec=_sleepy(each.spec)) for each in asked]
    shares = NodeShares(asked, machine, lambda spec: None)
    models = []
    for each in asked:
        need = shares.need(each.spec)
        if need is not None and each.facts is not None and shares.room.can_hold(need):
            read_s = each.facts.stored_bytes / READ_BYTES_S
            weights = need.weights_bytes
            models.append(
                Model(
                    key=each.aliases[0],
                    need=need,
                    load_s=START_S + read_s,
                    stop_s=STOP_S,
                    is_preloaded=each.preload,
                    can_sleep=can_sleep,
                    sleep_s=1 + weights / COPY_BYTES_S,
                    wakes_s=(first_wake_s(1, weights), first_wake_s(1, 0) + read_s),
                )
            )
    return shares.room, models


def _sleepy(spec: EngineSpec) -> EngineSpec:
    return replace(spec, args={**spec.args, "enable_sleep_mode": True})


def day_of(models: Sequence[Model], requests: int = REQUESTS) -> list[Arrival]:
    """Sessions, more by day than by night, of a few models mostly (Zipf): each 12 requests or so,
    half a minute apart, of up to a minute each."""
    drawn = random.Random(SEED)
    keys = [model.key for model in models]
    weights = [(rank + 1) ** -1.5 for rank in range(len(keys))]
    arrivals: list[Arrival] = []
    while len(arrivals) < requests:
        at = drawn.uniform(0, DAY_S)
        if drawn.random() < 0.55 - 0.45 * math.cos(2 * math.pi * at / DAY_S):
            arrivals += _session(drawn, at, drawn.choices(keys, weights)[0])
    return sorted(arrivals[:requests])


def _session(drawn: random.Random, at: float, key: str) -> Iterator[Arrival]:
    for _ in range(1 + int(drawn.expovariate(1 / 12))):
        yield Arrival(at, key, min(LONGEST_S, drawn.expovariate(1 / 12)))
        at += drawn.expovariate(1 / 30)


def rows(requests: int = REQUESTS) -> Iterator[Row]:
    room, models = shipped_node()
    arrivals = day_of(models, requests)
    alone = [replace(m, need=_whole_node(room)) for m in models]
    yield _row("turns (Fjord)", Simulation(models, room, TurnRules(), _checked(room)), arrivals)
    _, sleepy = shipped_node(can_sleep=True)
    yield _row("turns and sleep (Fjord)", _sleeping(sleepy, room), arrivals)
    yield _row("least recently used", Simulation(models, room, LeastRecentlyUsed()), arrivals)
    yield _row("one model at a time", Simulation(alone, room, TurnRules()), arrivals)


def _sleeping(models: Sequence[Model], room: DeviceMemory) -> Simulation:
    return Simulation(models, room, TurnRules(), _checked(room), SLEEP)


def _whole_node(room: DeviceMemory) -> MemoryNeed:
    return MemoryNeed(bytes_each=min(room.sizes), devices=len(room.sizes))


def _checked(room: DeviceMemory) -> Callable[[Sequence[EngineView]], None]:
    def check(views: Sequence[EngineView]) -> None:
        assert not over_memory(views, room)

    return check


def _row(rule: str, simulation: Simulation, arrivals: Sequence[Arrival]) -> Row:
    served: Served = simulation.run(arrivals)
    waits = sorted(wait for each in served.waits_s.values() for wait in each)
    assert len(waits) == len(arrivals)
    return Row(
        rule=rule,
        loads=served.loads,
        wait_p50_s=waits[len(waits) // 2],
        wait_p95_s=waits[int(len(waits) * 0.95)],
        longest_s=waits[-1],
        at_once=sum(wait == 0 for wait in waits) / len(waits),
    )


def table(found: Sequence[Row]) -> str:
    lines = [
        "| rule | loads | served at once | wait p50 | p95 | longest |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {r.rule} | {r.loads:,} | {r.at_once:.0%} | {r.wait_p50_s:,.0f} s | "
        f"{r.wait_p95_s:,.0f} s | {r.longest_s:,.0f} s |"
        for r in found
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", type=Path, help="Keep the figures here.")
    args = parser.parse_args()
    found = list(rows())
    print(table(found))
    if args.json:
        figures = [{name: getattr(row, name) for name in Row.__slots__} for row in found]
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
