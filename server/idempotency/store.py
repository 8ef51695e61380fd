"""idempotency.sqlite3: the keys of a day and their answers. Made when it is first needed."""

import os
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from server.idempotency.answer_store import Fate
from server.idempotency.entry import DAY_S, MOST_KEYS, Entry, TooManyKeys
from server.ledger import sqlite

FILE_NAME: Final = "idempotency.sqlite3"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS entries (
    entry_id BLOB PRIMARY KEY,
    owner BLOB NOT NULL,
    print BLOB NOT NULL,
    record_id TEXT NOT NULL,
    began REAL NOT NULL,
    answer BLOB
);
CREATE INDEX IF NOT EXISTS entries_began ON entries (began);
"""
_COLUMNS: Final = "entry_id, owner, print, record_id, began, answer"


class KeptAnswers:
    """An AnswerStore of one node: one transaction at a time. Raises sqlite3.Error and OSError where
    the disk does not take it."""

    def __init__(
        self,
        data_dir: Path,
        most_bytes: int,
        charged: Callable[[str], int | None] = lambda _: None,
        most_keys: int = MOST_KEYS,
    ) -> None:
        """`charged` blocks: what the record of that id was charged, None where there is none."""
        self._path = data_dir / FILE_NAME
        self._most_bytes = most_bytes
        self._charged, self._most_keys = charged, most_keys
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._keys: Counter[bytes] = Counter()
        """By owner."""
        self._bytes: Counter[bytes] = Counter()

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def claimed(self, entry: Entry) -> Entry:
        with self._opened() as connection, sqlite.immediate(connection):
            select = f"SELECT {_COLUMNS} FROM entries WHERE entry_id = ?"
            row = connection.execute(select, (entry.entry_id,)).fetchone()
            if row is not None and row[4] > entry.began - DAY_S:
                return _entry(row)
            if row is not None:
                self._forget(connection, entry.entry_id)
            if self._keys[entry.owner] >= self._most_keys:
                raise TooManyKeys
            values = (entry.entry_id, entry.owner, entry.print, entry.record_id, entry.began)
            insert = f"INSERT INTO entries ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, NULL)"
            connection.execute(insert, values)
            self._keys[entry.owner] += 1
            return entry

    def fate(self, found: Entry) -> Fate:
        is_billed = not found.record_id or self._charged(found.record_id)
        return "billed" if is_billed else "nothing"

    def replace(self, found: Entry, entry: Entry) -> bool:
        self.forget(found)
        return self.claimed(entry) is entry

    def keep(self, entry: Entry, sealed: bytes) -> bool:
        with self._opened() as connection:
            owners, all_ = self._bytes[entry.owner], self._bytes.total()
            if all_ + len(sealed) > self._most_bytes:
                return False
            if owners + len(sealed) > self._most_bytes // 2:
                return False
            update = "UPDATE entries SET answer = ? WHERE entry_id = ?"
            with sqlite.immediate(connection):
                connection.execute(update, (sealed, entry.entry_id))
            self._bytes[entry.owner] += len(sealed)
            return True

    def end(self, entry: Entry) -> None:
        """The ledger says so, too."""

    def beat(self, entry_ids: Sequence[bytes]) -> None:
        """Nobody else would run them."""

    def forget(self, entry: Entry) -> None:
        with self._opened() as connection:
            self._forget(connection, entry.entry_id)

    def forget_answers(self, owner: bytes) -> int:
        if not self._path.exists():
            return 0
        update = "UPDATE entries SET answer = NULL WHERE owner = ? AND answer IS NOT NULL"
        with self._opened() as connection, sqlite.immediate(connection):
            count = connection.execute(update, (owner,)).rowcount
            self._bytes[owner] = 0
        self._overwrite()
        return count

    def expire(self, now: float) -> None:
        if not self._path.exists():
            return
        with self._opened() as connection:
            connection.execute("DELETE FROM entries WHERE began <= ?", (now - DAY_S,))
            connection.execute("PRAGMA incremental_vacuum")
            self._count(connection)
        self._overwrite()

    def _overwrite(self) -> None:
        """The log of the file's changes has what is gone until it begins anew."""
        with self._opened() as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _forget(self, connection: sqlite3.Connection, entry_id: bytes) -> None:
        deleted = "DELETE FROM entries WHERE entry_id = ? RETURNING owner, length(answer)"
        for owner, size in connection.execute(deleted, (entry_id,)).fetchall():
            self._keys[owner] -= 1
            self._bytes[owner] -= size or 0

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._connection is None:
                os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
                connection = sqlite.connect(self._path)
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
                connection.execute("PRAGMA secure_delete = ON")
                connection.executescript(_SCHEMA)
                self._count(connection)
                self._connection = connection
            yield self._connection

    def _count(self, connection: sqlite3.Connection) -> None:
        select = "SELECT owner, count(*), coalesce(sum(length(answer)), 0) FROM entries GROUP BY 1"
        self._keys.clear()
        self._bytes.clear()
        for owner, keys, size in connection.execute(select):
            self._keys[owner], self._bytes[owner] = keys, size


def _entry(row: tuple[bytes, bytes, bytes, str, float, bytes | None]) -> Entry:
    entry_id, owner, print_, record_id, began, answer = row
    return Entry(
        entry_id=entry_id,
        owner=owner,
        print=print_,
        record_id=record_id,
        began=began,
        answer=answer,
    )
