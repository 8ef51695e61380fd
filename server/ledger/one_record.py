"""What one request was charged."""

from contextlib import closing
from pathlib import Path

from server.ledger import sqlite


def charged(path: Path, record_id: str) -> int | None:
    """Micro-units; None: it has no record. Blocks. Raises sqlite3.Error."""
    select = "SELECT amount FROM records WHERE record_id = ?"
    with closing(sqlite.connect(path, busy_timeout_s=10.0)) as connection:
        row = connection.execute(select, (record_id,)).fetchone()
    return None if row is None else int(row[0])
