"""The site's database as keyed requests ask it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from server.ledger.database import Database
from server.memory.errors import MemoryTrouble
from server.memory.vault import Vault

AWAY_S: Final = 5.0
"""So long after it was waited for in vain no request waits for it."""
_LONG_S: Final = 1.0
"""A connection that was cut fails at once, and the next one may be there."""


class SiteBooks:
    """Blocks: off the event loop, from any thread. Its key is the memory's: a node with another one
    takes no keys."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._away_until = 0.0

    @contextmanager
    def transaction(self) -> Iterator[Database]:
        """Raises MemoryTrouble."""
        if time.monotonic() < self._away_until:
            raise MemoryTrouble("the site's database was away a moment ago")
        began = time.monotonic()
        try:
            with self._vault.transaction() as database:
                yield database
        except MemoryTrouble:
            if time.monotonic() - began > _LONG_S:
                self._away_until = time.monotonic() + AWAY_S
            raise

    def close(self) -> None:
        self._vault.database.close()
