"""Opens the books for a command or an admin request: the site's where there is one, else the
node's own. A server makes them; here they are found or refused."""

from pathlib import Path
from typing import TYPE_CHECKING

from server.ledger import sqlite
from server.ledger.database import Database, SqliteDatabase

if TYPE_CHECKING:
    from server.ledger.site_pool import SitePool


def open_books(data_dir: Path, ledger_url: str | None) -> Database:
    """Raises LedgerUnavailable where they cannot be used."""
    if ledger_url is None:
        return SqliteDatabase(sqlite.existing_ledger(data_dir))
    from server.ledger import postgres

    return postgres.open_database(ledger_url)


def open_to_read(data_dir: Path, ledger_url: str | None) -> Database:
    """Also those of a newer fjord that this one still understands. Raises LedgerError."""
    if ledger_url is None:
        path, is_newer = sqlite.readable_ledger(data_dir)
        return SqliteDatabase(path, read_only=is_newer)
    from server.ledger import postgres

    return postgres.open_to_read(ledger_url)


def site_pool(ledger_url: str) -> "SitePool":
    """Raises LedgerError where the URL is not understood."""
    from server.ledger.site_pool import SitePool

    return SitePool(ledger_url)
