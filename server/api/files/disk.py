"""What a client hears where the server's disk takes nothing, or cannot be read."""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from server.errors import ApiError

log = logging.getLogger("fjord.files")

RETRY_S = 30.0


@contextmanager
def disk_trouble(what: str = "Files") -> Iterator[None]:
    """Raises ApiError 503 instead of OSError and sqlite3.Error, whose words name paths."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        log.error("%s cannot be stored or read: %s", what.lower(), error)
        message = f"{what} cannot be stored or read now; the server's log says why."
        raise ApiError.retry(503, "OVERLOADED", message, RETRY_S) from None
