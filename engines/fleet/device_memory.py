"""The memory of a node's devices, and where an engine may stand in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
        return sorted(able, key=lambda card: (free[card], card))[: need.devices]

    def can_hold(self, need: MemoryNeed) -> bool:
        """Whether it fits where nothing else stands."""
        return self.place(need, {}) is not None

    def part(self, need: MemoryNeed, devices: Sequence[int]) -> float | None:
        """What an engine may take of each of its whole cards; None: it stands on none."""
        sizes = [self.sizes[device] for device in devices if device != HOST]
        if not sizes or not need.bytes_each:
            return None
        return min(1.0, self.usable * need.bytes_each / max(sizes))
