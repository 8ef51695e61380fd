"""Who has to wait after wrong passwords, in memory of this server.

Of an address and a name together five tries are free, of an address fifty (many people sit behind
one); then each wrong one doubles a wait, up to 15 minutes. A name alone is never locked: somebody
elsewhere would lock its owner out.
"""

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

FREE_OF_PAIR: Final = 5
FREE_OF_ADDRESS: Final = 50
FIRST_WAIT_S: Final = 30.0
LONGEST_WAIT_S: Final = 900.0
FORGET_S: Final = 900.0
"""After so long without a wrong one all are free again."""
MOST_KNOWN: Final = 10_000


@dataclass(slots=True)
class _Tries:
    count: int = 0
    last: float = 0.0
    until: float = 0.0


class FailedTries:
    """Belongs to one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: OrderedDict[tuple[str, str], _Tries] = OrderedDict()

    def wait_s(self, address: str, name: str) -> float:
        """0: it may try."""
        now = self._clock()
        known = (self._known.get(key) for key in _keys(address, name))
        return max([0.0, *(each.until - now for each in known if each is not None)])

    def begin(self, address: str, name: str) -> None:
        """Counted before the password is compared, so that a crowd at once gains nothing."""
        now = self._clock()
        for key, free in zip(_keys(address, name), (FREE_OF_PAIR, FREE_OF_ADDRESS), strict=True):
            tries = self._known.setdefault(key, _Tries())
            if now - max(tries.last, tries.until) > FORGET_S:
                tries.count = 0
            tries.count, tries.last = tries.count + 1, now
            if (beyond := tries.count - free) >= 0:
                tries.until = now + min(FIRST_WAIT_S * 2.0 ** min(beyond, 10), LONGEST_WAIT_S)
            self._known.move_to_end(key)
        while len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)

    def right(self, address: str, name: str) -> None:
        """It was the right one: it counts against nobody."""
        pair, whole = _keys(address, name)
        self._known.pop(pair, None)
        if (tries := self._known.get(whole)) is not None:
            tries.count = max(0, tries.count - 1)
            tries.until = 0.0 if tries.count < FREE_OF_ADDRESS else tries.until


def _keys(address: str, name: str) -> tuple[tuple[str, str], tuple[str, str]]:
    network = _network(address)
    return (network, name.casefold()[:200]), (network, "")


def _network(address: str) -> str:
    """An IPv6 customer has a whole /64."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:100]
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is None:
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)
