"""A backup becomes the ledger again; the one that was there is kept beside it.

The new file is whole, checked and at the newest schema before the old one is touched, and takes
its name in one step: a restore that is killed leaves the one or the other.
"""

import os
import shutil
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from engines.host.synced import synced
from server.ledger import backup as backups
from server.ledger import schema, sqlite
from server.ledger.allowance_rows import ALLOWANCE_COLUMNS
from server.ledger.audit import HEAD, note
from server.ledger.backup import Contents
from server.ledger.database import SqliteDatabase
from server.ledger.errors import LedgerError, LedgerInUse
from server.ledger.meta import remembered

PART = "ledger.restoring"
ROOM_BYTES = 16 * 2**20
"""Beside the copy itself: the migration's log."""
MOST_NAMED = 20
WAIT_S = 10.0
"""For a command that has the ledger open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """What the present ledger has and the backup has not."""

    records: int = 0
    invoices: Sequence[str] = ()
    """Their numbers, MOST_NAMED at most."""
    audited: int = 0
    """Entries of the audit log."""
    keys: Sequence[str] = ()
    """Names of keys, owners and members made, changed or revoked since, and of the site: they are
    as they were again."""

    def __bool__(self) -> bool:
        return bool(self.records or self.invoices or self.audited or self.keys)


class Restore:
    """One backup for one data directory, whose serving lock the caller holds."""

    def __init__(self, backup: Path, data_dir: Path) -> None:
        self.backup, self.ledger = backup, data_dir / sqlite.FILE_NAME
        self.part = data_dir / PART

    def prepare(self) -> tuple[Contents, Lost]:
        """Copy and check; what it holds, and what the present ledger has beyond it. Raises
        LedgerError, OSError; nothing is left then."""
        backups.checked(self.backup)
        self._check_room()
        try:
            shutil.copyfile(self.backup, self.part)
            os.chmod(self.part, 0o600)
            schema.migrate(f"sqlite:///{self.part}")
            found = backups.contents(self.part)
            return found, self._lost(found) if self.ledger.exists() else Lost()
        except BaseException:
            self.drop()
            raise

    def complete(self) -> Path | None:
        """Put it in place; where the old ledger lies now, or None where there was none."""
        self._note()
        with closing(sqlite3.connect(self.part)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
        synced(self.part)
        kept = self._keep() if self.ledger.exists() else None
        for name in ("-wal", "-shm"):
            self.ledger.with_name(self.ledger.name + name).unlink(missing_ok=True)
        self.part.replace(self.ledger)
        synced(self.ledger.parent)
        return kept

    def _note(self) -> None:
        """In the log that goes on from here, with the head of the one that is replaced."""
        before = None
        if self.ledger.exists():
            with closing(SqliteDatabase(self.ledger, read_only=True)) as present:
                before = {"head": remembered(present, HEAD)}
        with closing(SqliteDatabase(self.part)) as restored:
            for table in ("sessions", "sign_in_links"):  # whose end the backup cannot know
                restored.execute(f"DELETE FROM {table}")
            after = {"head": remembered(restored, HEAD), "backup": self.backup.name}
            note(restored, "ledger.restore", "ledger", before, after)

    def drop(self) -> None:
        for name in ("", "-wal", "-shm", "-journal"):
            self.part.with_name(self.part.name + name).unlink(missing_ok=True)

    def _check_room(self) -> None:
        needs = self.backup.stat().st_size + ROOM_BYTES
        free = shutil.disk_usage(self.part.parent).free
        if free < needs:
            raise LedgerError(
                f"The disk of {self.part.parent} has {free / 2**20:,.0f} MiB free, and the backup "
                f"needs {needs / 2**20:,.0f}. Nothing was changed."
            )

    def _lost(self, found: Contents) -> Lost:
        sqlite.prepared_ledger(self.ledger.parent)
        present = backups.contents(self.ledger)
        if present.node_uid != found.node_uid:
            raise LedgerError(
                f"{self.backup} is of another server: its records would be mixed up with those "
                f"of {self.ledger.parent}. Restore it into a --data-dir without a ledger."
            )
        return _difference(self.part, self.ledger, found.last_seq)

    def _keep(self) -> Path:
        """A second name for the old file, all of it in it. Raises LedgerInUse where a command
        has it open."""
        try:
            with closing(sqlite3.connect(self.ledger, timeout=WAIT_S)) as connection:
                connection.execute("PRAGMA journal_mode = DELETE")
        except sqlite3.OperationalError as error:
            raise LedgerInUse(
                f"Another command has {self.ledger} open ({error}): try again once it has ended."
            ) from None
        when = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        kept = self.ledger.with_name(f"ledger-before-restore-{when}.sqlite3")
        os.link(self.ledger, kept)
        return kept


def _difference(backup: Path, present: Path, last_seq: int) -> Lost:
    with closing(sqlite3.connect(backup)) as connection:
        connection.execute("ATTACH ? AS present", (str(present),))

        def column(sql: str, *values: object) -> list[str]:
            return [str(row[0]) for row in connection.execute(sql, values)]

        count = "SELECT count(*) FROM present.records WHERE seq > ?"
        return Lost(
            records=connection.execute(count, (last_seq,)).fetchone()[0],
            invoices=column(INVOICES, MOST_NAMED),
            audited=connection.execute(AUDITED).fetchone()[0],
            keys=column(KEYS, MOST_NAMED),
        )


AUDITED = """
SELECT count(*) FROM present.audit
WHERE (number, digest) NOT IN (SELECT number, digest FROM main.audit)
"""
INVOICES = """
SELECT year || '-' || serial FROM present.invoices
WHERE (year, serial) NOT IN (SELECT year, serial FROM main.invoices)
ORDER BY year, serial LIMIT ?
"""
OF_OWNERS = f"SELECT name, archived_at, {', '.join(ALLOWANCE_COLUMNS)} FROM"
"""A backup from before owners gives them ids of its own."""
KEYS = f"""
SELECT name FROM (
    SELECT name FROM (SELECT * FROM present.keys EXCEPT SELECT * FROM main.keys)
    UNION ALL
    SELECT 'owner ' || name FROM ({OF_OWNERS} present.owners EXCEPT {OF_OWNERS} main.owners)
    UNION ALL
    SELECT 'member ' || name FROM (SELECT * FROM present.members EXCEPT SELECT * FROM main.members)
    UNION ALL
    SELECT 'the site' FROM (SELECT * FROM present.site EXCEPT SELECT * FROM main.site)
) ORDER BY name LIMIT ?
"""
