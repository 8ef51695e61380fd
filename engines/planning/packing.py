"""Which engines fit together, and on which cards: an exact search, the same for the same input."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TypeAlias

MOST_STEPS = 20_000
"""Beyond so many steps a set counts as one that does not fit: a hundred engines on odd cards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What one engine takes: on `world` cards at once, and of the machine's own memory."""

    key: str
    world: int = 0
    claims: Mapping[int, int] = field(default_factory=dict)
    """Kind of card -> bytes on each; a kind that is too small is not in it."""
    host_bytes: int = 0

    @property
    def most_bytes(self) -> int:
        return self.world * max(self.claims.values(), default=0) + self.host_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What there is: of each card its kind and usable bytes, and of the machine's memory (None:
    not known, so nothing is refused for it)."""

    kinds: tuple[int, ...]
    bytes: tuple[int, ...]
    host_bytes: int | None = None
    nodes: tuple[int, ...] = ()
    """Of each card the number of its machine, 0 this one; empty: all are here."""

    def homes(self, able: Sequence[int], world: int, claims: Mapping[int, int]) -> list[list[int]]:
        """Of the cards `able` to take an engine, those that it may stand on together: of one
        machine, and of several others only where no machine has enough, however empty."""
        if not any(self.nodes):
            return [list(able)]
        numbers = range(max(self.nodes) + 1)
        cards = [card for card, kind in enumerate(self.kinds) if kind in claims]
        whole = max(sum(self.nodes[card] == n for card in cards) for n in numbers)
        if whole >= world:
            return [[card for card in able if self.nodes[card] == n] for n in numbers]
        return [[card for card in able if self.nodes[card]]]


Placement: TypeAlias = dict[str, tuple[int, ...]]
"""Engine -> its cards' places."""


def place(demands: Sequence[Demand], room: Room) -> Placement | None:
    """All at once, or None where they do not fit."""
    host = sum(demand.host_bytes for demand in demands)
    if room.host_bytes is not None and host > room.host_bytes:
        return None
    ordered = sorted(demands, key=lambda d: (-d.world, -d.most_bytes, d.key))
    return _Search([d for d in ordered if d.world], room).found({d.key: () for d in demands})


def turns(demands: Sequence[Demand], room: Room) -> list[list[Demand]]:
    """As few groups as can be, each of which fits at once. Each demand must fit alone."""
    tried = _Groups(demands, room)
    simple = tried.greedy()
    for count in range(1, len(simple) + 1):
        if (groups := tried.split(count)) is not None:
            return groups
    return simple


class _Search:
    """Depth first: the largest engine first, on the emptiest cards. Cards that are equal, and
    states that failed already, are tried once."""

    def __init__(self, demands: Sequence[Demand], room: Room) -> None:
        self._demands = demands
        self._room = room
        self._kinds = room.kinds
        self._free = list(room.bytes)
        self._failed: set[tuple[int, tuple[tuple[int, int], ...]]] = set()
        self._steps = 0
        least = [d.world * min(d.claims.values(), default=0) for d in demands]
        self._still_needed = [sum(least[i:]) for i in range(len(demands) + 1)]

    def found(self, placement: Placement) -> Placement | None:
        return placement if self._from(0, placement) else None

    def _from(self, index: int, placement: Placement) -> bool:
        if index == len(self._demands):
            return True
        self._steps += 1
        state = (index, tuple(sorted(zip(self._kinds, self._free, strict=True))))
        is_hopeless = self._still_needed[index] > sum(self._free) or self._steps > MOST_STEPS
        if is_hopeless or state in self._failed:
            return False
        for cards in self._choices(self._demands[index]):
            if self._with(index, cards, placement):
                return True
        self._failed.add(state)
        return False

    def _with(self, index: int, cards: tuple[int, ...], placement: Placement) -> bool:
        demand = self._demands[index]
        for card in cards:
            self._free[card] -= demand.claims[self._kinds[card]]
        placement[demand.key] = tuple(sorted(cards))
        if self._from(index + 1, placement):
            return True
        for card in cards:
            self._free[card] += demand.claims[self._kinds[card]]
        return False

    def _choices(self, demand: Demand) -> Iterator[tuple[int, ...]]:
        able = [
            card
            for card, kind in enumerate(self._kinds)
            if kind in demand.claims and self._free[card] >= demand.claims[kind]
        ]

        def likeness(card: int) -> tuple[int, int]:
            return (-self._free[card], self._kinds[card])

        for home in self._room.homes(able, demand.world, demand.claims):
            alike = [list(cards) for _, cards in groupby(sorted(home, key=likeness), likeness)]
            yield from _picks(alike, demand.world)


def _picks(alike: Sequence[Sequence[int]], count: int) -> Iterator[tuple[int, ...]]:
    """Every way to take `count`, cards of one group being all the same."""
    if count == 0:
        yield ()
        return
    if sum(map(len, alike)) < count:
        return
    first, rest = alike[0], alike[1:]
    for taken in range(min(count, len(first)), -1, -1):
        for others in _picks(rest, count - taken):
            yield (*first[:taken], *others)


class _Groups:
    """Ways to part engines into groups that fit."""

    def __init__(self, demands: Sequence[Demand], room: Room) -> None:
        self._demands = sorted(demands, key=lambda d: (-d.most_bytes, d.key))
        self._room = room
        self._known: dict[frozenset[str], bool] = {}
        self._steps = 0

    def greedy(self) -> list[list[Demand]]:
        groups: list[list[Demand]] = []
        for demand in self._demands:
            group = next((g for g in groups if self._fits([*g, demand])), None)
            if group is None:
                groups.append(group := [])
            group.append(demand)
        return groups

    def split(self, count: int) -> list[list[Demand]] | None:
        """Into exactly `count` groups, or fewer."""
        groups: list[list[Demand]] = []
        return groups if self._put(0, groups, count) else None

    def _put(self, index: int, groups: list[list[Demand]], count: int) -> bool:
        if index == len(self._demands):
            return True
        self._steps += 1
        demand = self._demands[index]
        if self._steps > MOST_STEPS:
            return False
        emptiest = sorted(groups, key=lambda group: sum(d.most_bytes for d in group))
        for group in [*emptiest, *([[]] if len(groups) < count else [])]:
            if self._put_into(group, demand, index, groups, count):
                return True
        return False

    def _put_into(
        self,
        group: list[Demand],
        demand: Demand,
        index: int,
        groups: list[list[Demand]],
        count: int,
    ) -> bool:
        if not self._fits([*group, demand]):
            return False
        if is_new := not group:
            groups.append(group)
        group.append(demand)
        if self._put(index + 1, groups, count):
            return True
        group.pop()
        if is_new:
            groups.pop()
        return False

    def _fits(self, demands: Sequence[Demand]) -> bool:
        keys = frozenset(demand.key for demand in demands)
        if keys not in self._known:
            self._known[keys] = place(demands, self._room) is not None
        return self._known[keys]
