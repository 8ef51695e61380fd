"""The database with its key: nothing is kept or read before the site's key is known to be right."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from server.ledger.database import Database
from server.memory.counts import Failures
from server.memory.database import MemoryDatabase
from server.memory.owners import Owners
from server.memory.sealing import Sealer, WrongSeal
from server.memory.site_key import made_site_key, read_site_key
from server.refusal import CannotStart

log = logging.getLogger("fjord.memory")

_CHECK: Final = "site key"
_WORD: Final = b"fjord"


class Vault:
    """Blocks: off the event loop, from any thread."""

    def __init__(
        self, database: MemoryDatabase, owners: Owners, key_path: Path, *, makes_key: bool
    ) -> None:
        self.database, self.owners = database, owners
        self._key_path, self._makes_key = key_path, makes_key
        self._lock = threading.Lock()
        self.failures = Failures()

    @property
    def is_there(self) -> bool:
        return self.database.is_there

    def may_hold(self, kept_id: str) -> bool:
        """False also for an id that no database can be asked for."""
        return self.is_there and "\0" not in kept_id

    @contextmanager
    def transaction(self) -> Iterator[Database]:
        """Raises MemoryTrouble."""
        with self.failures.noted():
            self._know_key()
            with self.database.transaction() as database:
                yield database

    def check_key(self) -> None:
        """At a start. Raises CannotStart where what is kept was sealed with another key, and
        MemoryTrouble where it cannot be looked at."""
        with self._lock, self.database.transaction() as database:
            self._take_key(database)

    def _know_key(self) -> None:
        with self._lock:
            if self.owners.site is not None:
                return
            try:
                with self.database.transaction() as database:
                    self._take_key(database)
            except CannotStart as refusal:
                log.error("%s", refusal)
                raise WrongSeal("What is kept here cannot be opened now.") from None

    def _take_key(self, database: Database) -> None:
        known = _known(database)
        is_new = known is None and self._makes_key and not self._key_path.exists()
        sealer = Sealer(made_site_key(self._key_path) if is_new else read_site_key(self._key_path))
        if known is None:
            database.execute(
                "INSERT INTO memory_check (name, value) VALUES (?, ?)"
                " ON CONFLICT (name) DO NOTHING",
                (_CHECK, sealer.seal(_WORD, _CHECK)),
            )
            known = _known(database)
        assert known is not None
        try:
            sealer.open(known, _CHECK)
        except WrongSeal:
            raise CannotStart(
                f"What is kept here was sealed with another key than {self._key_path}: give this "
                "server the key that its other nodes have, or that it had (FJORD_MEMORY_KEY)."
            ) from None
        self.owners.site = sealer


def _known(database: Database) -> bytes | None:
    rows = database.query("SELECT value FROM memory_check WHERE name = ?", (_CHECK,))
    return bytes(rows[0][0]) if rows else None
