"""How much an engine takes at once, for whoever orders what waits for it; it need not tell it."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class HasSeats(Protocol):
    """An engine that computes a bounded number of sequences at once."""

    @property
    def seats(self) -> int | float:
        """That number, or infinity; valid once `start` returned."""

    def waiting_for_cache(self, sequences: int) -> int:
        """At once, from memory: so many were let in, or are on their way; how many of them wait for
        room in its cache, as far as it knows. 0 while another would find some."""
