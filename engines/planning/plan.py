"""All engines of a registry on one machine: at once, by turns, or never, and on which cards."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from engines.planning.demands import Fit, capacity, fit, room_of
from engines.planning.facts import ModelFacts
from engines.planning.machine import Machine
from engines.planning.measured import MeasuredMemory
from engines.planning.need import Need
from engines.planning.packing import Demand, place, turns
from engines.planning.pins import Pins, pins_of
from engines.planning.remedies import Remedy, remedies
from engines.planning.replicas import Shortage, shortage, with_followers
from engines.registry.spec import EngineSpec

Verdict: TypeAlias = Literal["at once", "by turns", "no room", "never", "unknown"]
"""no room: of a replica, beside the others of its turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedEngine:
    """One engine to plan for, with what is known of its model. `facts` None: `unknown` says why."""

    spec: EngineSpec
    aliases: tuple[str, ...]
    preload: bool = False
    is_pinned: bool = False
    facts: ModelFacts | None = None
    unknown: str = ""
    replicas: int = 1

    @property
    def keys(self) -> tuple[str, ...]:
        """Of all its replicas."""
        return tuple(self.replica(number).spec.key for number in range(self.replicas))

    def replica(self, number: int) -> "AskedEngine":
        return replace(self, spec=replace(self.spec, replica=number))


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
    """`engines` in the registry's order, replicas behind their first one: those that have room, and
    one of those that have none."""

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

    @property
    def short(self) -> tuple[Placed, ...]:
        """The first of its replicas that has no room, of each engine that has such."""
        return tuple(each for each in self.engines if each.asked.spec.replica and not each.turn)

    def of_turn(self, turn: int) -> tuple[Placed, ...]:
        return tuple(each for each in self.engines if each.turn == turn)


@dataclass(frozen=True, slots=True)
class _Place:
    turn: int
    cards: tuple[int, ...]
    streams: int
    kv_bytes: int


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
    followers = {each.spec.key: each.keys[1:] for each in asked}
    groups = [with_followers(group, followers, machine) for group in groups]
    needs = {key: fits[e.spec.key].need for e in asked if e.spec.key in fits for key in e.keys}
    placed = _placed(groups, machine, needs)
    first = {each.spec.key: _engine(each, fits, placed, len(groups), machine) for each in asked}
    return FleetPlan(
        machine=machine,
        engines=tuple(
            one
            for each in asked
            for one in (
                first[each.spec.key],
                *_others(first[each.spec.key], placed, groups, machine),
            )
        ),
        turns=len(groups),
        pins=pins_of(able, {a.spec.key for a in asked if a.is_pinned}, room_of(machine)),
    )


def _others(
    first: Placed, placed: dict[str, _Place], groups: list[list[Demand]], machine: Machine
) -> Iterator[Placed]:
    """Its replicas that have room, and the next one, where there is one without."""
    if not first.turn or first.fit is None:
        return
    keys, group = first.asked.keys, groups[first.turn - 1]
    for number, key in enumerate(keys[1:], 1):
        if key in placed:
            yield _with(first, first.asked.replica(number), placed[key])
    missing = shortage(first.fit.demand, len(keys), group, keys, machine)
    if missing is not None:
        yield _without_room(first, missing)


def _without_room(first: Placed, missing: Shortage) -> Placed:
    assert first.fit is not None
    return Placed(
        asked=first.asked.replica(missing.placed),
        verdict="never" if missing.is_for_good else "no room",
        fit=replace(first.fit, refusal=str(missing)),
        remedies=missing.remedies(),
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


def _placed(
    groups: list[list[Demand]], machine: Machine, needs: dict[str, Need]
) -> dict[str, _Place]:
    found: dict[str, _Place] = {}
    kinds = room_of(machine).kinds
    for turn, group in enumerate(groups, 1):
        cards = place(group, room_of(machine)) or {}
        left = _left(group, cards, machine)
        for demand in group:
            own = cards[demand.key]
            least = min((demand.claims[kinds[card]] for card in own), default=0)
            found[demand.key] = _place(turn, own, least, needs[demand.key], left)
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
    cards: tuple[int, ...],
    claimed: int,
    need: Need,
    left: dict[int, tuple[int, int]],
) -> _Place:
    """`claimed`: bytes of each of its cards."""
    if not claimed:
        return _Place(
            turn, cards, need.streams(need.least_bytes), need.kv_bytes or need.stream_bytes
        )
    beyond = min(left[card][0] // left[card][1] for card in cards)
    room = claimed + beyond
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
    verdict: Verdict = "at once" if count == 1 else "by turns"
    return _with(Placed(asked=asked, verdict=verdict, fit=found), asked, own)


def _with(placed: Placed, asked: AskedEngine, own: _Place) -> Placed:
    return replace(
        placed,
        asked=asked,
        turn=own.turn,
        cards=own.cards,
        streams=own.streams,
        kv_bytes=own.kv_bytes,
    )
