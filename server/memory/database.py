"""Where the memory lies: memory.sqlite3 of a node, made when it is first needed, or the tables of
the site's PostgreSQL (a step of the ledger's migrations). One SQL for both."""

import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final, Protocol

from server.ledger import sqlite
from server.ledger.database import Database, SqliteDatabase
from server.ledger.errors import LedgerError
from server.ledger.open_books import site_pool
from server.memory.errors import MemoryTrouble

log = logging.getLogger("fjord.memory")

FILE_NAME: Final = "memory.sqlite3"
_TROUBLE: Final = "Responses cannot be stored or read now; the server's log says why."
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS memory_check (name TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS memory_owners (
    owner TEXT PRIMARY KEY, data_key BLOB NOT NULL, bytes INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS memory_responses (
    response_id TEXT PRIMARY KEY, owner TEXT NOT NULL, created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL, previous_id TEXT, conversation_id TEXT,
    is_background INTEGER NOT NULL, status TEXT NOT NULL, depth INTEGER NOT NULL,
    context_bytes INTEGER NOT NULL, bytes INTEGER NOT NULL, node TEXT NOT NULL,
    beat_at INTEGER NOT NULL, cancel_asked INTEGER NOT NULL, head BLOB NOT NULL, turn BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS memory_responses_owner ON memory_responses (owner);
CREATE INDEX IF NOT EXISTS memory_responses_expiry ON memory_responses (expires_at);
CREATE INDEX IF NOT EXISTS memory_responses_open ON memory_responses (owner)
    WHERE status IN ('queued', 'in_progress');
CREATE TABLE IF NOT EXISTS memory_events (
    response_id TEXT NOT NULL, part INTEGER NOT NULL, first_number INTEGER NOT NULL,
    bytes INTEGER NOT NULL, sealed BLOB NOT NULL, PRIMARY KEY (response_id, part)
);
CREATE TABLE IF NOT EXISTS memory_items_of (
    owner TEXT NOT NULL, item_id TEXT NOT NULL, response_id TEXT NOT NULL,
    PRIMARY KEY (owner, item_id)
);
CREATE INDEX IF NOT EXISTS memory_items_of_response ON memory_items_of (response_id);
CREATE TABLE IF NOT EXISTS memory_conversations (
    conversation_id TEXT PRIMARY KEY, owner TEXT NOT NULL, created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL, next_seq INTEGER NOT NULL, items INTEGER NOT NULL,
    bytes INTEGER NOT NULL, context_bytes INTEGER NOT NULL, sealed BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS memory_conversations_owner ON memory_conversations (owner);
CREATE INDEX IF NOT EXISTS memory_conversations_expiry ON memory_conversations (expires_at);
CREATE TABLE IF NOT EXISTS memory_conversation_items (
    conversation_id TEXT NOT NULL, seq INTEGER NOT NULL, item_id TEXT NOT NULL,
    bytes INTEGER NOT NULL, plain_bytes INTEGER NOT NULL, sealed BLOB NOT NULL,
    PRIMARY KEY (conversation_id, seq), UNIQUE (conversation_id, item_id)
);
CREATE TABLE IF NOT EXISTS memory_requests (
    kept_id TEXT PRIMARY KEY, request_id TEXT NOT NULL, owner TEXT NOT NULL, key_id TEXT NOT NULL,
    at INTEGER NOT NULL, expires_at INTEGER NOT NULL, mode TEXT NOT NULL, path TEXT NOT NULL,
    status INTEGER NOT NULL, bytes INTEGER NOT NULL, sealed BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS memory_requests_request ON memory_requests (request_id);
CREATE INDEX IF NOT EXISTS memory_requests_owner ON memory_requests (owner, at);
CREATE INDEX IF NOT EXISTS memory_requests_expiry ON memory_requests (expires_at);
"""


class MemoryDatabase(Protocol):
    """Blocks: off the event loop, from any thread. What the disk or the driver raises comes out as
    MemoryTrouble."""

    def transaction(self) -> AbstractContextManager[Database]:
        """Committed and durable when the block ends; nothing of it where the block raises."""

    @property
    def is_there(self) -> bool:
        """Whether anything may have been kept."""

    def forget_deleted(self) -> None:
        """Give back what deleted rows had on the disk."""

    def close(self) -> None: ...


class FileMemory:
    """A file in the data directory."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / FILE_NAME
        self._lock = threading.Lock()
        self._database: SqliteDatabase | None = None

    @property
    def is_there(self) -> bool:
        return self.path.exists()

    @contextmanager
    def transaction(self) -> Iterator[Database]:
        with self._lock, _troubles():
            database = self._opened()
            with sqlite.immediate(database.connection):
                yield database

    def forget_deleted(self) -> None:
        with self._lock, _troubles():
            connection = self._opened().connection
            connection.execute("PRAGMA incremental_vacuum").fetchall()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        with self._lock:
            if self._database is not None:
                self._database.close()
            self._database = None

    def _opened(self) -> SqliteDatabase:
        if self._database is None:
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
            self._database = _prepared(self.path)
        return self._database


def _prepared(path: Path) -> SqliteDatabase:
    database = SqliteDatabase(path)
    try:
        connection = database.connection
        connection.execute("PRAGMA secure_delete = ON")
        if connection.execute("PRAGMA auto_vacuum").fetchone()[0] != 2:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("VACUUM")  # of a file that is empty yet
        connection.executescript(_SCHEMA)
    except BaseException:
        database.close()
        raise
    return database


class SharedMemory:
    """The site's PostgreSQL, over a few connections of its own."""

    is_there = True

    def __init__(self, url: str) -> None:
        self._pool = site_pool(url)

    @contextmanager
    def transaction(self) -> Iterator[Database]:
        with _troubles():
            database = self._pool.open_books()
            try:
                with database.transaction():
                    yield database
            finally:
                database.close()

    def forget_deleted(self) -> None:
        """PostgreSQL does it itself."""

    def close(self) -> None:
        self._pool.close()


@contextmanager
def _troubles() -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error, LedgerError) as error:
        raise _told(error) from None
    except Exception as error:
        if not type(error).__module__.startswith("psycopg"):
            raise
        raise _told(error) from None


def _told(error: Exception) -> MemoryTrouble:
    """The words of a driver name hosts and paths: they stay in the log."""
    log.error("responses cannot be stored or read: %s", " ".join(str(error).split()))
    return MemoryTrouble(_TROUBLE)
