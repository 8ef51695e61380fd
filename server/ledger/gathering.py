"""How long a write may wait for companions of its commit.

A commit costs 0.25 to 0.5 ms of processor time whatever it holds, and who waits for it waits for
the companions too. So nobody waits longer than a small part of what the request took anyway, and
only while as many end that somebody comes meanwhile. By Little's law that is while a request waits
beside 1 / PART others that are busy; streams that are open and still end nothing, and count for
nothing.
"""

import math
import time
from collections.abc import Callable
from typing import Final

PART: Final = 0.05
"""Of what a request took, its end waits no longer than this, ..."""
MOST_S: Final = 0.05
"""... nor than this."""
REMEMBERED_S: Final = 0.5


class Gathering:
    """Belongs to the event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at = clock()
        self._rate = 0.0
        """Ends a second, as of then."""
        self._last_s = 0.0
        """What the last end may wait."""

    def end_s(self, lasted_s: float) -> float:
        """What the end of a request may wait, now; it counts."""
        rate = self._rate_now()
        longest = min(MOST_S, PART * lasted_s)
        self._rate += 1 / REMEMBERED_S
        self._last_s = longest if rate * longest >= 1 else 0.0
        return self._last_s

    def entry_s(self) -> float:
        """What an entry that is needed before the first token may wait, if nothing hurries it: it
        is written with the next ends, where ends wait."""
        return MOST_S if self._rate_now() * self._last_s >= 1 else 0.0

    def _rate_now(self) -> float:
        now = self._clock()
        self._rate *= math.exp((self._at - now) / REMEMBERED_S)
        self._at = now
        return self._rate
