"""How a check says that its rule does not hold, or that it cannot be looked at here."""

from typing import Any


class Unmet(Exception):
    """The rule does not hold. `is_fault`: wrong whatever the contract says, as a 500 is."""

    def __init__(self, expected: Any, seen: Any, *, is_fault: bool = False) -> None:
        super().__init__(f"expected {expected}; saw {seen}")
        self.expected = str(expected)
        self.seen = str(seen)
        self.is_fault = is_fault


class Skipped(Exception):
    """The rule cannot be looked at here; the message says why."""
