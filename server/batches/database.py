"""batches.sqlite3: which files and batches there are. Made when it is first needed."""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from server.ledger import sqlite

FILE_NAME: Final = "batches.sqlite3"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS files (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    file_id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    file TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    purpose TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS files_owner ON files (owner, seq);
CREATE TABLE IF NOT EXISTS batches (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    batch_id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    input_file_id TEXT NOT NULL,
    is_over INTEGER NOT NULL,
    batch TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS batches_owner ON batches (owner, seq);
CREATE INDEX IF NOT EXISTS batches_open ON batches (is_over) WHERE NOT is_over;
"""
T = TypeVar("T")


class BatchDatabase:
    """Blocks: call it off the event loop. Any thread, one transaction at a time."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    @property
    def is_there(self) -> bool:
        return (self.data_dir / FILE_NAME).exists()

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Committed, and durable, when the block ends; nothing of it where the block raises."""
        with self._lock:
            connection = self._opened()
            with sqlite.immediate(connection):
                yield connection

    def forget_deleted(self) -> None:
        """The log of the file's changes has what is gone until it begins anew."""
        with self._lock:
            self._opened().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """What `work` finds; None where nothing was ever stored."""
        if not self.is_there:
            return None
        with self._lock:
            return work(self._opened())

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            path = self.data_dir / FILE_NAME
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            connection = sqlite.connect(path)
            connection.execute("PRAGMA secure_delete = ON")
            connection.executescript(_SCHEMA)
            self._connection = connection
        return self._connection
