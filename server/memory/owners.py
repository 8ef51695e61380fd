"""An owner's data key, wrapped by the site's, and how many sealed bytes it has."""

import time
from collections.abc import Mapping
from typing import Final

from server.ledger.database import Database
from server.ledger.periods import DAY_S
from server.memory.errors import MemoryFull, MemoryTrouble
from server.memory.sealing import Sealer, WrongSeal, new_data_key

_KIND: Final = "data key"


class Owners:
    """What an owner may keep, for how long, and its sealer. Used within a transaction."""

    def __init__(
        self, quota_bytes: int, days: float, days_of: Mapping[str, float] | None = None
    ) -> None:
        self.quota_bytes = quota_bytes
        self._days, self._days_of = days, dict(days_of or {})
        self.site: Sealer | None = None
        """Set once the site's key is known."""

    def expiry(self, owner: str) -> int:
        """Unix seconds until which what is kept now stays."""
        return int(time.time() + self._days_of.get(owner, self._days) * DAY_S)

    def sealer(self, database: Database, owner: str) -> Sealer | None:
        """None: nothing is kept of that owner. Raises MemoryTrouble."""
        rows = database.query("SELECT data_key FROM memory_owners WHERE owner = ?", (owner,))
        return None if not rows else Sealer(self._opened(rows[0][0], owner))

    def sealer_to_keep(self, database: Database, owner: str) -> Sealer:
        """Makes its data key where it has none."""
        key = new_data_key()
        database.execute(
            "INSERT INTO memory_owners (owner, data_key, bytes) VALUES (?, ?, 0)"
            " ON CONFLICT (owner) DO NOTHING",
            (owner, self._site().seal(key, _KIND, owner)),
        )
        sealer = self.sealer(database, owner)
        assert sealer is not None
        return sealer

    def take(self, database: Database, owner: str, more: int, *, is_bound: bool = True) -> None:
        """Count so many bytes more (or less). Raises MemoryFull, unless it is not bound by it."""
        sql = "UPDATE memory_owners SET bytes = bytes + ? WHERE owner = ?"
        if more > 0 and is_bound:
            sql += " AND bytes + ? <= ?"
            done = database.execute(sql, (more, owner, more, self.quota_bytes))
            if not done:
                self._refuse(database, owner)
        elif more:
            database.execute(sql, (more, owner))

    def _refuse(self, database: Database, owner: str) -> None:
        if not database.query("SELECT 1 FROM memory_owners WHERE owner = ?", (owner,)):
            raise MemoryTrouble("What is kept of this owner was forgotten meanwhile.")
        raise MemoryFull(self.full())

    def check_room(self, database: Database, owner: str) -> None:
        """Whether anything more may be kept at all. Raises MemoryFull."""
        rows = database.query("SELECT bytes FROM memory_owners WHERE owner = ?", (owner,))
        if rows and rows[0][0] >= self.quota_bytes:
            raise MemoryFull(self.full())

    def full(self) -> str:
        return (
            f"What is kept of one owner may have {self.quota_bytes / 10**9:g} GB together; delete "
            "some of it, or send store: false."
        )

    def _opened(self, wrapped: bytes, owner: str) -> bytes:
        try:
            return self._site().open(wrapped, _KIND, owner)
        except WrongSeal as error:
            raise MemoryTrouble("What is kept of this owner cannot be opened.") from error

    def _site(self) -> Sealer:
        assert self.site is not None
        return self.site
