"""What sleep makes of a plan's turns: who could sleep, how deep, and how long a turn takes to come
back. Pure, by the estimates that the fleet itself goes by until it has seen a load and a wake."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from engines.fleet.outlook import first_load_s
from engines.fleet.shares import may_sleep
from engines.fleet.sleep_rules import Level, first_wake_s
from engines.planning.engine_arguments import vllm_arguments
from engines.planning.need import asleep_bytes
from engines.planning.plan import FleetPlan, Placed


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSleeper:
    """One engine of a plan that sleeps, or would with `enable_sleep_mode`."""

    placed: Placed
    is_on: bool
    """Its arguments have it."""
    weights_bytes: int
    """On all its cards: what level 1 keeps in the machine's memory."""
    kept_bytes_each: int
    """Of each card while it sleeps."""
    level: Level | None
    """None: the machine's memory is not known."""

    def wake_s(self, level: Level) -> float:
        return first_wake_s(level, self.weights_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class SleepPlan:
    """`sleepers` in the plan's order: those that have it on, or all that could where none has."""

    plan: FleetPlan
    sleepers: tuple[PlannedSleeper, ...]
    host_bytes: int | None
    """Of the machine's memory, for the weights of all that sleep; None: not known."""

    @property
    def is_on(self) -> bool:
        return any(each.is_on for each in self.sleepers)

    def loads_s(self, turn: int) -> float:
        """Until all of a turn serve, where each is loaded."""
        return self._slowest_card(turn, _load_s)

    def returns_s(self, turn: int, level: Level | None = None) -> float:
        """... where those wake that sleep, at `level`, or at their own; 2 where that is not
        known."""
        sleepers = {each.placed.asked.spec.key: each for each in self.sleepers}

        def back_s(placed: Placed) -> float:
            sleeper = sleepers.get(placed.asked.spec.key)
            if sleeper is None:
                return _load_s(placed)
            return sleeper.wake_s(level or sleeper.level or 2)

        return self._slowest_card(turn, back_s)

    def _slowest_card(self, turn: int, each_s: Callable[[Placed], float]) -> float:
        """Engines come back one after the other on a card, and side by side on several."""
        cards: dict[int, float] = {}
        for placed in self.plan.of_turn(turn):
            for card in placed.cards:
                cards[card] = cards.get(card, 0.0) + each_s(placed)
        return max(cards.values(), default=0.0)


def planned_sleep(plan: FleetPlan, host_bytes: int | None) -> SleepPlan:
    """Levels as if all slept at once, the first of the registry first."""
    able = [placed for placed in plan.engines if _is_able(placed)]
    has_it = [placed for placed in able if may_sleep(placed.asked.spec)]
    return SleepPlan(
        plan=plan, sleepers=tuple(_sleepers(has_it or able, host_bytes)), host_bytes=host_bytes
    )


def _is_able(placed: Placed) -> bool:
    """On cards, not pinned, without replicas, which end instead."""
    asked = placed.asked
    is_free = not asked.is_pinned and asked.replicas == 1
    return asked.spec.kind == "vllm" and is_free and bool(placed.turn and placed.cards)


def _sleepers(placed: Iterable[Placed], host_bytes: int | None) -> Iterator[PlannedSleeper]:
    left = host_bytes
    for each in placed:
        assert each.fit is not None
        assert each.asked.facts is not None
        weights = each.fit.need.weights_bytes * len(each.cards)
        level: Level | None = None
        if left is not None:
            level = 1 if weights <= left else 2
            left -= weights if level == 1 else 0
        yield PlannedSleeper(
            placed=each,
            is_on=may_sleep(each.asked.spec),
            weights_bytes=weights,
            kept_bytes_each=asleep_bytes(each.asked.facts.layers, vllm_arguments(each.asked.spec)),
            level=level,
        )


def _load_s(placed: Placed) -> float:
    stored = placed.asked.facts.stored_bytes if placed.asked.facts else 0
    return first_load_s(placed.asked.spec.kind, stored) or 0.0
