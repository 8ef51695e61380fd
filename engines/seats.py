"""How much an engine takes at once, for whoever orders what waits for it; it need not tell it."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class HasSeats(Protocol):
    """An engine that computes a bounded number of sequences at once."""

    @property
    def seats(self) -> int | float:
        """That number, or infinity; valid once `start` returned."""

    def is_short(self) -> bool:
        """At once, from memory: whether something that it was given waits though a seat is free,
        because its cache has no room."""
