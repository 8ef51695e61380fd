"""What a database raises, whichever it is."""

import logging
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from server.ledger.errors import LedgerUnavailable

log = logging.getLogger("fjord.ledger")


def is_of_database(error: BaseException) -> bool:
    """A full disk, a lock that nobody gives back, a connection that is gone; no statement of ours
    that is wrong."""
    if isinstance(error, sqlite3.Error):
        return not isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError)
    psycopg = sys.modules.get("psycopg")  # loaded by whoever has a site
    if psycopg is None:
        return False
    kinds = psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError
    return isinstance(error, kinds)


@contextmanager
def told_as_unavailable() -> Iterator[None]:
    """Raises LedgerUnavailable, in words that name no host and no path; the log has the others."""
    try:
        yield
    except Exception as error:
        if not is_of_database(error):
            raise
        log.warning("keys and usage cannot be read or written: %s", error)
        raise LedgerUnavailable(
            "The keys and usage records cannot be read or written; the server's log says why."
        ) from error
