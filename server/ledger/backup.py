"""A copy of a ledger while it is served from: one file, of one moment, whole or not there.

What a server has acknowledged is committed, and what is committed when the copy begins is in it.
Writers are not held up: SQLite's own backup reads beside them. Answers that run at that moment are
in the copy as open, with what was known of their tokens; a server that starts on it closes them.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from engines.host.synced import synced
from server.ledger import schema, sqlite
from server.ledger.errors import LedgerError

MAGIC = b"SQLite format 3\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a ledger at the newest schema holds."""

    node_uid: str
    records: int
    last_seq: int
    """0: it never had a record."""
    newest_at: float | None
    """When its newest record's request began, in Unix seconds."""
    keys: int
    invoices: int
    open_requests: int


def back_up(ledger: Path, target: Path) -> None:
    """Write the copy to `target`, which must be empty or not there; it is on the disk then.
    Raises LedgerError where the ledger itself is damaged, OSError and sqlite3.Error as the disk
    does."""
    source = f"file:{_quoted(ledger)}?mode=ro"
    with (
        closing(sqlite3.connect(source, uri=True, timeout=10.0)) as served,
        closing(sqlite3.connect(target, isolation_level=None)) as copy,
    ):
        served.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
        _check_whole(copy, "The ledger")
    os.chmod(target, 0o600)
    synced(target)


def checked(backup: Path) -> None:
    """Raises LedgerError where it is no whole ledger that this version can read."""
    try:
        with backup.open("rb") as file:
            begins = file.read(len(MAGIC))
    except OSError as error:
        raise LedgerError(f"{backup} cannot be read: {error.strerror}.") from None
    if begins != MAGIC:
        raise LedgerError(f"{backup} is no backup: it is not a file of `fjord backup`.")
    with _reading(backup) as connection:
        found = schema.sqlite_schema(connection)
        if found.version is None:
            raise LedgerError(f"{backup} is no backup: it holds no ledger.")
        found.is_behind(str(backup))
        _check_whole(connection, str(backup))


def contents(ledger: Path) -> Contents:
    """Of one at the newest schema."""
    with _reading(ledger) as connection:

        def one(sql: str) -> int:
            return int(connection.execute(sql).fetchone()[0] or 0)

        uid = connection.execute("SELECT value FROM meta WHERE name = 'node_uid'").fetchone()
        newest = one("SELECT max(started_us) FROM records")
        return Contents(
            node_uid=str(uid[0]) if uid else "",
            records=one("SELECT count(*) FROM records"),
            last_seq=one("SELECT max(seq) FROM sqlite_sequence WHERE name = 'records'"),
            newest_at=newest / 1e6 if newest else None,
            keys=one("SELECT count(*) FROM keys"),
            invoices=one("SELECT count(*) FROM invoices"),
            open_requests=one("SELECT count(*) FROM open_requests"),
        )


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Raises LedgerError for what SQLite cannot read."""
    source = f"file:{_quoted(path)}?mode=ro"
    try:
        with closing(sqlite3.connect(source, uri=True, timeout=sqlite.BUSY_TIMEOUT_S)) as found:
            yield found
    except sqlite3.Error as error:
        raise LedgerError(f"{path} cannot be read: {error}.") from None


def _check_whole(connection: sqlite3.Connection, what: str) -> None:
    [found] = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise LedgerError(f"{what} is damaged: {str(found)[:200]}.")


def _quoted(path: Path) -> str:
    """For SQLite's form of a URI."""
    from urllib.parse import quote

    return quote(str(path.absolute()))
