"""How many engines ended while one request ran on them: a second one is the last."""

import logging
from collections.abc import Callable, Sequence

from engines.base import RequestKillsEngines

log = logging.getLogger("fjord.fleet")

MOST_DEATHS = 2
_TOLD_FIELDS = 40


class Deaths:
    """Of the engines that one request ran on. `fields` gives the names of what the request has
    set, never a value: they are asked for once it is the likely cause."""

    __slots__ = ("_count", "_fields", "_request_id", "alias")

    def __init__(self, request_id: str, alias: str, fields: Callable[[], Sequence[str]]) -> None:
        self.alias = alias
        self._request_id, self._fields = request_id, fields
        self._count = 0

    def count(self, reason: BaseException) -> None:
        """One more. Raises RequestKillsEngines where it is given no other engine."""
        self._count += 1
        if self._count < MOST_DEATHS:
            log.warning("an engine of %s ended under request %s", self.alias, self._request_id)
            return
        log.error(
            "request %s to %s ran on %d engines when they ended, and gets no other; it sets: %s",
            self._request_id,
            self.alias,
            self._count,
            ", ".join(self._fields()[:_TOLD_FIELDS]) or "nothing",
        )
        raise RequestKillsEngines(self._count) from reason
