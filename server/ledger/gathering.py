"""How long a busy writer waits for companions of what it will commit next.

A commit costs 0.25 to 0.5 ms of processor time whatever it holds, and who waits for it waits for
the companions too. So it waits as long as what comes is worth it: by how many requests are open,
how much comes in a second, and how much came together lately. Ten thousand idle streams are none
of it.
"""

import time
from collections.abc import Callable
from typing import Final

FEW_IN_FLIGHT: Final = 8
"""With no more requests open than this nothing waits."""
OF_EACH_S: Final = 0.0004
"""For each of them no longer than this, ..."""
OF_RATE_S: Final = 0.00025
"""... nor than this for each write of a second, ..."""
MOST_S: Final = 0.05
"""... and never longer than this."""
_ALONE: Final = 0.25
"""Such a part of it while writes come one by one: enough to see that they no longer do."""
_REMEMBERED_S: Final = 0.5


class Gathering:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at = clock()
        self._rate = 0.0
        """Writes a second."""
        self._together = 1.0
        """Writes a commit."""

    def wrote(self, count: int) -> None:
        """So much in one commit, now."""
        now = self._clock()
        passed, self._at = max(now - self._at, 1e-6), now
        weight = min(1.0, passed / _REMEMBERED_S)
        self._rate += weight * (count / passed - self._rate)
        self._together += 0.25 * (count - self._together)

    def wait_s(self, in_flight: int) -> float:
        """From now on, with so many requests open."""
        if in_flight <= FEW_IN_FLIGHT:
            return 0.0
        longest = min(MOST_S, OF_EACH_S * in_flight, OF_RATE_S * self._rate)
        return longest * min(1.0, max(_ALONE, self._together - 1))
