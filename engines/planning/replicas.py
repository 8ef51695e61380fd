"""Replicas in a plan: each first one has its turn, the others what is free of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from engines.planning.cards import shown_cards
from engines.planning.demands import room_of
from engines.planning.machine import Machine
from engines.planning.packing import Demand, place
from engines.planning.remedies import Remedy


def with_followers(
    group: Sequence[Demand], wanted: Mapping[str, Sequence[str]], machine: Machine
) -> list[Demand]:
    """The engines of one turn, and of their replicas (`wanted`: key of the first -> keys of the
    others, in order) those that fit beside them: a second one of each before a third of any."""
    found, room = list(group), room_of(machine)
    able = [demand for demand in group if wanted.get(demand.key)]
    for place_in_line in range(max((len(wanted[d.key]) for d in able), default=0)):
        for demand in able[:]:
            keys = wanted[demand.key]
            follower = (
                replace(demand, key=keys[place_in_line]) if place_in_line < len(keys) else None
            )
            if follower is not None and place([*found, follower], room) is not None:
                found.append(follower)
            else:
                able.remove(demand)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortage:
    """Of `wanted` replicas `placed` have room in the turn of `beside` (all engines placed there),
    and `alone` would with nobody else on the machine."""

    demand: Demand
    wanted: int
    placed: int
    alone: int
    beside: tuple[Demand, ...]
    machine: Machine

    def __str__(self) -> str:
        if self.alone < self.wanted:
            return f"{self.alone} of {self.wanted} replicas fit here"
        return f"{self.placed} of {self.wanted} replicas have room beside the others of their turn"

    @property
    def is_for_good(self) -> bool:
        """Whoever else leaves."""
        return self.alone < self.wanted

    def remedies(self) -> tuple[Remedy, ...]:
        """Fewer of them; or more cards of the largest kind that is here, as few as would do."""
        fewer = Remedy(kind="replicas", text=f"replicas: {self.placed}")
        most = (self.wanted - self.placed) * self.demand.world
        if not self.machine.cards or not self._is_room_with(most):
            return (fewer,)
        least = 1
        while least < most:
            middle = (least + most) // 2
            least, most = (least, middle) if self._is_room_with(middle) else (middle + 1, most)
        return (fewer, Remedy(kind="cards", text=shown_cards(self._with(least).cards)))

    def _is_room_with(self, more_cards: int) -> bool:
        numbers = range(self.wanted - self.placed)
        missing = [replace(self.demand, key=f"{self.demand.key} {n}") for n in numbers]
        return place([*self.beside, *missing], room_of(self._with(more_cards))) is not None

    def _with(self, more_cards: int) -> Machine:
        cards = self.machine.cards
        largest = max(cards, key=lambda card: card.total_bytes)
        return replace(self.machine, cards=(*cards, *[largest] * more_cards))


def shortage(
    demand: Demand, wanted: int, group: Sequence[Demand], keys: Sequence[str], machine: Machine
) -> Shortage | None:
    """None: all of them are in the group. `keys`: of all its replicas, the first one's first."""
    placed = sum(each.key in set(keys) for each in group)
    if placed == wanted:
        return None
    return Shortage(
        demand=demand,
        wanted=wanted,
        placed=placed,
        alone=len(with_followers([demand], {demand.key: keys[1:]}, machine)),
        beside=tuple(group),
        machine=machine,
    )
