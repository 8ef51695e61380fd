"""All engines of a registry on one machine: at once, by turns, or never, and on which cards."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from engines.planning.demands import Fit, capacity, fit, room_of
from engines.planning.facts import ModelFacts
from engines.planning.machine import Machine
from engines.planning.measured import MeasuredMemory
from engines.planning.packing import Demand, place, turns
from engines.planning.pins import Pins, pins_of
from engines.planning.remedies import Remedy, remedies
from engines.registry.spec import EngineSpec

Verdict: TypeAlias = Literal["at once", "by turns", "never", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedEngine:
    """One engine to plan for, with what is known of its model. `facts` None: `unknown` says why."""

    spec: EngineSpec
    aliases: tuple[str, ...]
    preload: bool = False
    is_pinned: bool = False
    facts: ModelFacts | None = None
    unknown: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """One engine in the plan."""

    asked: AskedEngine
    verdict: Verdict
    fit: Fit | None = None
    turn: int = 0
    """From 1; 0: in none."""
    cards: tuple[int, ...] = ()
    streams: int = 0
    """At full context, with its share of what is left of its cards in its turn."""
    kv_bytes: int = 0
    """That share of each of its cards."""
    remedies: tuple[Remedy, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetPlan:
    """`engines` in the registry's order."""

    machine: Machine
    engines: tuple[Placed, ...]
    turns: int
    pins: Pins

    @property
    def is_possible(self) -> bool:
        """Whether each model that is known is served some time."""
        return not (self.never or self.pins.clashing or self.pins.kept_out)

    def named(self, keys: Collection[str]) -> list[str]:
        """The first alias of each of these engines."""
        return [each.asked.aliases[0] for each in self.engines if each.asked.spec.key in keys]

    @property
    def never(self) -> tuple[Placed, ...]:
        return tuple(each for each in self.engines if each.verdict == "never")

    def of_turn(self, turn: int) -> tuple[Placed, ...]:
        return tuple(each for each in self.engines if each.turn == turn)


def plan(
    asked: Sequence[AskedEngine], machine: Machine, measured: MeasuredMemory | None = None
) -> FleetPlan:
    """The same for the same input. What is not known, and what has no weights, is in no turn."""
    fits = {
        each.spec.key: fit(each.spec, each.facts, machine, measured)
        for each in asked
        if each.facts is not None
    }
    able = [each.demand for each in fits.values() if each.refusal is None]
    groups = _ordered(turns(able, room_of(machine)) if able else [], asked)
    placed = _placed(groups, machine, fits)
    return FleetPlan(
        machine=machine,
        engines=tuple(_engine(each, fits, placed, len(groups), machine) for each in asked),
        turns=len(groups),
        pins=pins_of(able, {a.spec.key for a in asked if a.is_pinned}, room_of(machine)),
    )


def _ordered(groups: list[list[Demand]], asked: Sequence[AskedEngine]) -> list[list[Demand]]:
    """Those with most preloaded engines first, then in the registry's order."""
    order = {each.spec.key: i for i, each in enumerate(asked)}
    preloaded = {each.spec.key for each in asked if each.preload}

    def rank(group: list[Demand]) -> tuple[int, int]:
        return (
            -sum(d.key in preloaded for d in group),
            min(order[d.key] for d in group),
        )

    return sorted(groups, key=rank)


@dataclass(frozen=True, slots=True)
class _Place:
    turn: int
    cards: tuple[int, ...]
    streams: int
    kv_bytes: int


def _placed(
    groups: list[list[Demand]], machine: Machine, fits: dict[str, Fit]
) -> dict[str, _Place]:
    found: dict[str, _Place] = {}
    for turn, group in enumerate(groups, 1):
        cards = place(group, room_of(machine)) or {}
        left = _left(group, cards, machine)
        for demand in group:
            found[demand.key] = _place(turn, demand, cards[demand.key], fits, left)
    return found


def _left(
    group: list[Demand], cards: dict[str, tuple[int, ...]], machine: Machine
) -> dict[int, tuple[int, int]]:
    """Card -> the bytes that nobody claims, and how many engines share them."""
    room = room_of(machine)
    free = {card: capacity(machine.cards[card]) for card in range(len(machine.cards))}
    sharing = dict.fromkeys(free, 0)
    for demand in group:
        for card in cards[demand.key]:
            free[card] -= demand.claims[room.kinds[card]]
            sharing[card] += 1
    return {card: (free[card], sharing[card]) for card in free}


def _place(
    turn: int,
    demand: Demand,
    cards: tuple[int, ...],
    fits: dict[str, Fit],
    left: dict[int, tuple[int, int]],
) -> _Place:
    need = fits[demand.key].need
    if not demand.claims:
        return _Place(
            turn, cards, need.streams(need.least_bytes), need.kv_bytes or need.stream_bytes
        )
    beyond = min(left[card][0] // left[card][1] for card in cards)
    room = min(demand.claims.values()) + beyond
    kv_bytes = need.kv_bytes or room - need.weights_bytes - need.reserve_bytes
    return _Place(turn, cards, need.streams(room), kv_bytes)


def _engine(
    asked: AskedEngine,
    fits: dict[str, Fit],
    placed: dict[str, _Place],
    count: int,
    machine: Machine,
) -> Placed:
    found = fits.get(asked.spec.key)
    if found is None or asked.facts is None:
        return Placed(asked=asked, verdict="unknown")
    if found.refusal is not None:
        others = remedies(asked.spec, asked.facts, machine)
        return Placed(asked=asked, verdict="never", fit=found, remedies=others)
    own = placed[asked.spec.key]
    return Placed(
        asked=asked,
        verdict="at once" if count == 1 else "by turns",
        fit=found,
        turn=own.turn,
        cards=own.cards,
        streams=own.streams,
        kv_bytes=own.kv_bytes,
    )
