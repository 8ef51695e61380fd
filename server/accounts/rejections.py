"""How many 429s of a key are recorded: a flood of them must not fill the disk."""

import time
from collections.abc import Callable

from server.accounts.rate_windows import MINUTE_S

MOST_A_MINUTE = 60


class Rejections:
    """Counts them by key, in minutes that begin with the first. Belongs to one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._minutes: dict[str, tuple[float, int]] = {}
        """key id -> when its minute ends, and how many it has had."""

    def has_room(self, key_id: str) -> bool:
        """Whether one more is recorded; then it is counted."""
        now = self._clock()
        ends, count = self._minutes.get(key_id, (0.0, 0))
        if now >= ends:
            ends, count = now + MINUTE_S, 0
        self._minutes[key_id] = ends, count + 1
        return count < MOST_A_MINUTE
