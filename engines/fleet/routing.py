"""Which replica a request goes to: where its prompt's beginning is warm, unless that one is much
busier. Pure, but for what is remembered of earlier choices."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

MUCH_BUSIER = 1.5
SLACK = 4
"""A warm replica is much busier with more than MUCH_BUSIER times the requests of the least busy
one, and SLACK."""
MOST_PREFIXES = 16_384
"""So many are remembered for an engine's replicas; those used last."""

Prefixes: TypeAlias = Sequence[int]
"""Hashes of a prompt's beginnings, the shortest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaLoad:
    """One replica as the choice sees it."""

    replica: int
    requests: int = 0
    """On it: those that run, and those that wait inside of it."""
    takes_requests: bool = True
    """It serves, is not known to be broken, and is not about to end or to sleep."""
    is_reluctant: bool = False
    """An operator keeps new work from it: it takes what no other can."""
    chosen_at: int = 0
    """When it was chosen last: a count that grows with each choice."""


def choose(replicas: Sequence[ReplicaLoad], warm: Sequence[int] = ()) -> int | None:
    """The replica's number; None where none takes requests. `warm`: those that know the prompt's
    beginning, who knows most of it first. Of several that are least busy, the one that was chosen
    longest ago."""
    able = {each.replica: each for each in replicas if each.takes_requests}
    if not able:
        return None
    able = {number: each for number, each in able.items() if not each.is_reluctant} or able
    least = min(each.requests for each in able.values())
    for replica in warm:
        if replica in able and able[replica].requests <= most_requests(least):
            return replica
    return min(able.values(), key=lambda e: (e.requests, e.chosen_at, e.replica)).replica


def most_requests(least: int) -> float:
    """What a warm replica may have while the least busy one has `least`."""
    return MUCH_BUSIER * least + SLACK


class WarmPrefixes:
    """Which replica read a prompt's beginning last, of the last MOST_PREFIXES. A replica that was
    started anew knows nothing of what it read before: its number of loads says so."""

    def __init__(self, most: int = MOST_PREFIXES) -> None:
        self._most = most
        self._read_by: OrderedDict[int, tuple[int, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._read_by)

    def warm(self, prefixes: Prefixes, loads: Mapping[int, int]) -> list[int]:
        """Replicas that know one of `prefixes`, who knows the longest first. `loads`: how often
        each replica was started."""
        known = (self._read_by.get(prefix) for prefix in reversed(prefixes))
        found = (each[0] for each in known if each and loads.get(each[0]) == each[1])
        return list(dict.fromkeys(found))

    def note(self, prefixes: Prefixes, replica: int, loads: int) -> None:
        """This replica reads them now."""
        for prefix in prefixes:
            self._read_by[prefix] = (replica, loads)
            self._read_by.move_to_end(prefix)
        while len(self._read_by) > self._most:
            self._read_by.popitem(last=False)
