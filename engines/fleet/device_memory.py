"""The memory of a node's devices, and where an engine may stand in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

HOST = -1
"""The machine's own memory, among the devices of an engine."""


def asleep_on(card: int) -> int:
    """What engines keep of a card while they sleep, among the devices of what is taken."""
    return -2 - card


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryNeed:
    """What an engine takes: `bytes_each` of each of `devices` cards, and `host_bytes` of the
    machine's own memory."""

    bytes_each: int = 0
    devices: int = 1
    host_bytes: int = 0
    preferred: tuple[int, ...] = ()
    """The cards that a plan gave it: taken where they are free."""
    fixed: tuple[int, ...] = ()
    """The cards that it stands on, and can leave no more; none: it is free to go anywhere."""
    asleep_bytes_each: int = 0
    """What it keeps of each card while it sleeps: CUDA's context, NCCL's buffers, CUDA graphs."""
    is_bound: bool = False
    """It can stand on this machine alone."""
    weights_bytes: int = 0
    """On all its cards together: what it keeps of the machine's memory where it sleeps lightly."""

    def on(self, device: int) -> int:
        """Bytes of a device that it stands on."""
        return self.host_bytes if device == HOST else self.bytes_each


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """`sizes`: bytes of each card that engines may fill, by its index."""

    sizes: tuple[int, ...]
    host_bytes: int | None = None
    """Of the machine's own memory; None: it is not counted."""
    usable: float = 1.0
    """The part of a whole card that `sizes` are."""
    spare: tuple[int, ...] = ()
    """Bytes of each card beside `sizes` that those who sleep may keep."""
    nodes: tuple[int, ...] = ()
    """Of each card the number of its machine, 0 this one; empty: all are here. On another machine
    an engine has its cards whole."""
    absent: frozenset[int] = frozenset()
    """Cards of machines that do not answer now."""

    def place(self, need: MemoryNeed, taken: Mapping[int, int]) -> tuple[int, ...] | None:
        """The devices an engine goes to, given what is `taken` of each (device -> bytes): those it
        prefers, or the fullest ones that hold it, so that others stay whole. None: there is no
        room."""
        host = (HOST,) if need.host_bytes and self.host_bytes is not None else ()
        if host and need.host_bytes > (self.host_bytes or 0) - taken.get(HOST, 0):
            return None
        cards = self._cards(need, [self._free(card, taken) for card in range(len(self.sizes))])
        return None if cards is None else (*host, *sorted(cards))

    def _free(self, card: int, taken: Mapping[int, int]) -> int:
        if card in self.absent or (self.is_elsewhere(card) and taken.get(card)):
            return -1
        spare = self.spare[card] if card < len(self.spare) else 0
        asleep = max(0, taken.get(asleep_on(card), 0) - spare)
        return self.sizes[card] - taken.get(card, 0) - asleep

    def _cards(self, need: MemoryNeed, free: Sequence[int]) -> Sequence[int] | None:
        able = [card for card, left in enumerate(free) if left >= need.bytes_each]
        if len(able) < need.devices:
            return None
        if need.fixed:
            return need.fixed if set(need.fixed) <= set(able) else None
        if len(need.preferred) == need.devices and set(need.preferred) <= set(able):
            return need.preferred
        homes = [home for home in self._homes(need, able) if len(home) >= need.devices]
        if not homes:
            return None
        return sorted(homes[0], key=lambda card: (free[card], card))[: need.devices]

    def _homes(self, need: MemoryNeed, able: Sequence[int]) -> list[list[int]]:
        """The cards that it may stand on together: this machine's; then another's, one with few
        left first; of several others only where no machine has enough, however empty."""
        if not any(self.nodes):
            return [list(able)]
        here = [card for card in able if not self.nodes[card]]
        if need.is_bound:
            return [here]
        machines = [[c for c in able if self.nodes[c] == n] for n in range(1, max(self.nodes) + 1)]
        if any(self.nodes.count(n) >= need.devices for n in set(self.nodes)):
            return [here, *sorted(machines, key=len)]
        most = [card for each in sorted(machines, key=len, reverse=True) for card in each]
        return [most[: need.devices]]

    def is_elsewhere(self, card: int) -> bool:
        """Whether it is another machine's."""
        return card < len(self.nodes) and self.nodes[card] > 0

    def can_hold(self, need: MemoryNeed) -> bool:
        """Whether it fits where nothing else stands, and every machine answers."""
        return replace(self, absent=frozenset()).place(need, {}) is not None

    def part(self, need: MemoryNeed, devices: Sequence[int]) -> float | None:
        """What an engine may take of each of its whole cards; None: it stands on none."""
        sizes = [self.sizes[device] for device in devices if device != HOST]
        if not sizes or not need.bytes_each:
            return None
        if self.is_elsewhere(max(devices)):
            return self.usable
        return min(1.0, self.usable * need.bytes_each / max(sizes))
