"""Opens the books for a command or an admin request: the site's where there is one, else the
node's own."""

from pathlib import Path

from server.ledger import sqlite
from server.ledger.database import Database, SqliteDatabase


def open_books(data_dir: Path, ledger_url: str | None) -> Database:
    """Raises LedgerUnavailable where they cannot be used."""
    if ledger_url is None:
        return SqliteDatabase(sqlite.prepared_ledger(data_dir))
    from server.ledger import postgres

    return postgres.open_database(ledger_url)
