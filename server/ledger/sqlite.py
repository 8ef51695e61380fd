"""The local ledger file: opened, and brought to the newest schema."""

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from server.ledger import schema
from server.ledger.errors import LedgerUnavailable

log = logging.getLogger("fjord.ledger")

FILE_NAME = "ledger.sqlite3"
BUSY_TIMEOUT_S = 1.0


def connect(
    path: Path,
    *,
    busy_timeout_s: float = BUSY_TIMEOUT_S,
    factory: type[sqlite3.Connection] = sqlite3.Connection,
) -> sqlite3.Connection:
    """Autocommit, durable at each commit. Used by one thread at a time."""
    connection = sqlite3.connect(
        path,
        timeout=busy_timeout_s,
        isolation_level=None,
        check_same_thread=False,
        factory=factory,
    )
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA temp_store = MEMORY")  # a statement with triggers makes a file else
    return connection


def prepared_ledger(data_dir: Path) -> Path:
    """Make the data directory and its ledger where missing; return the ledger's path."""
    path = data_dir / FILE_NAME
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with closing(connect(path, busy_timeout_s=10.0)) as connection:
            os.chmod(path, 0o600)
            found = schema.sqlite_schema(connection)
        if found.is_behind(str(path)):
            if found.version is not None:
                log.info("schema %s of %s becomes %s", found.version, path, schema.HEAD)
            schema.migrate(f"sqlite:///{path}")
    except (OSError, sqlite3.Error) as error:
        raise unavailable(path, error) from error
    return path


def existing_ledger(data_dir: Path) -> Path:
    """The path of a ledger that is there, at the newest schema. Raises LedgerUnavailable."""
    there(data_dir)
    return prepared_ledger(data_dir)


def readable_ledger(data_dir: Path) -> tuple[Path, bool]:
    """The same to read alone: also one that a newer fjord made, if it says that this one still
    understands it, and whether it is one. Raises LedgerError."""
    path = there(data_dir)
    try:
        with closing(connect(path, busy_timeout_s=10.0)) as connection:
            found = schema.sqlite_schema(connection)
    except sqlite3.Error as error:
        raise unavailable(path, error) from error
    if not found.is_newer():
        return prepared_ledger(data_dir), False
    found.check_readable(str(path))
    return path, True


def there(data_dir: Path) -> Path:
    path = data_dir / FILE_NAME
    if not path.is_file():
        raise LedgerUnavailable(
            f"There is no ledger in {data_dir.absolute()}. `fjord serve` makes one at its first "
            "start; where it lies elsewhere say so with --data-dir or FJORD_DATA_DIR."
        )
    return path


def unavailable(path: Path, error: Exception) -> LedgerUnavailable:
    return LedgerUnavailable(f"The ledger {path} cannot be used: {error}.")


@contextmanager
def immediate(connection: sqlite3.Connection) -> Iterator[None]:
    """One write transaction, taken at its start so that what was read stays true."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk may have ended it already
            connection.execute("ROLLBACK")
        raise
