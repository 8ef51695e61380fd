"""What an engine was seen to take of a device; an engine need not tell it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryInUse:
    """On one device, in bytes. None: the engine cannot tell."""

    kv_bytes: int
    """The whole cache, full or empty."""
    token_bytes: int | None = None
    """The cache of one token; None too where layers keep different numbers of them."""
    weights_bytes: int | None = None
    reserve_bytes: int | None = None
    """Activations, CUDA graphs, libraries."""

    @property
    def total_bytes(self) -> int | None:
        if self.weights_bytes is None or self.reserve_bytes is None:
            return None
        return self.weights_bytes + self.reserve_bytes + self.kv_bytes


@runtime_checkable
class TellsMemory(Protocol):
    """An engine that says what it took."""

    def memory_in_use(self) -> Sequence[MemoryInUse]:
        """Of each of its devices, once it has started. At once; none: it is not known."""
