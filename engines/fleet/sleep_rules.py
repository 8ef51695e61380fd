"""How deep an engine sleeps, for how long, and how long falling asleep and waking may take."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Level: TypeAlias = Literal[1, 2]
"""1: the weights wait in the machine's memory. 2: they are dropped, and read again at the wake."""

MOST_FAILED_WAKES = 2
"""In a row: then the engine is not put to sleep again, but by an operator."""
_GIB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class SleepRules:
    """What the engines of one node may do asleep."""

    host_bytes: int = 0
    """Of the machine's memory, for the weights of all that sleep at level 1 together."""
    stay: float = 6.0
    """An idle engine stays asleep for so many times its `keep`, then it ends."""
    base_s: float = 60.0
    """A way to sleep or out of it that takes longer, and so much longer for each GiB of weights
    below, hangs."""
    copy_s_a_gib: float = 2.0
    """... where they are copied. Pinned memory is taken at 1 GB/s or more."""
    read_s_a_gib: float = 20.0
    """... where they are read again: as slow as a start may be."""

    def sleep_limit_s(self, level: int, weights_bytes: int) -> float:
        return self.base_s + (self.copy_s_a_gib * weights_bytes / _GIB if level == 1 else 0.0)

    def wake_limit_s(self, level: int, weights_bytes: int) -> float:
        each_s = self.copy_s_a_gib if level == 1 else self.read_s_a_gib
        return self.base_s + each_s * weights_bytes / _GIB


def first_wake_s(level: int, weights_bytes: int) -> float:
    """A wake that was never seen: over a card's bus, or off a disk."""
    return 1.0 + weights_bytes / (10e9 if level == 1 else 1e9)
