"""A client that has ended its side of a connection: does it wait for its answer, or has it gone?

Both look the same (a FIN). Before an answer begins, interim ones (100 Continue, which every client
of HTTP/1.1 passes over) find out: who is gone refuses the first with a reset, and the next one then
fails. Once it has begun, its own pieces do the same."""

import asyncio
from collections.abc import Callable

INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"
_GAPS_S = (0.05, 0.2, 0.8)
"""A reset takes as long as the way to the client and back."""
_LATER_S = 5.0


class HalfClose:
    """Asks again and again, until its owner stops it. `may_ask`: there is no answer yet."""

    def __init__(self, transport: asyncio.Transport, may_ask: Callable[[], bool]) -> None:
        self._transport = transport
        self._may_ask = may_ask
        self._loop = asyncio.get_running_loop()
        self._asked = 0
        self._timer: asyncio.TimerHandle | None = None
        self._ask()

    def stop(self) -> None:
        """The connection is lost."""
        if self._timer is not None:
            self._timer.cancel()

    def _ask(self) -> None:
        if self._may_ask():
            self._transport.write(INTERIM)
        gap_s = _GAPS_S[self._asked] if self._asked < len(_GAPS_S) else _LATER_S
        self._asked += 1
        self._timer = self._loop.call_later(gap_s, self._ask)
