"""A request that its limits refuse.

LimitExceeded               .retry_after_s, .headers (Retry-After among them)
├── RateLimited             requests or tokens a minute
└── ConcurrencyLimited      too many sequences at once
"""

from collections.abc import Callable
from math import ceil
from typing import TypeAlias

from server.ledger.records import LevelKind

Headers: TypeAlias = list[tuple[bytes, bytes]]
Clock: TypeAlias = Callable[[], float]


class LimitExceeded(Exception):
    """Waiting `retry_after_s` whole seconds succeeds, unless other requests under the same limits
    take the room."""

    def __init__(self, message: str, wait_s: float, headers: Headers, level: LevelKind) -> None:
        super().__init__(message)
        self.level = level
        """Whose limit it is."""
        self.retry_after_s = max(1, ceil(wait_s))
        self.headers = [*headers, (b"retry-after", b"%d" % self.retry_after_s)]


class RateLimited(LimitExceeded):
    """Too many requests, or too many tokens, within a minute."""


class ConcurrencyLimited(LimitExceeded):
    """Too many sequences at once. The wait is until so many of the oldest requests have reached
    their time limit as hold the slots that are missing: the only moment by which they are free for
    certain."""
