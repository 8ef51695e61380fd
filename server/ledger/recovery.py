"""Requests that were in flight when the server died become records with the end `lost`."""

from contextlib import closing
from pathlib import Path

from server.ledger import sqlite
from server.ledger.money import charge_of
from server.ledger.progress import take_progress
from server.ledger.sqlite_rows import INSERT_RECORDS, SqliteRows, decode_open

ALREADY_CLOSED = """
DELETE FROM open_requests WHERE record_id IN (SELECT record_id FROM records)
"""
"""An id that was used twice left an entry behind; its one record stands."""


def close_lost(path: Path) -> int:
    """Close every open entry, billed for what was known of it; return how many there were."""
    with closing(sqlite.connect(path, busy_timeout_s=10.0)) as connection:
        rows = SqliteRows(connection)
        with rows.transaction():
            connection.execute(ALREADY_CLOSED)
            found = connection.execute("SELECT record FROM open_requests").fetchall()
            records = [decode_open(row[0]) for row in found]
            take_progress(connection, records)
            for record in records:
                record.end = "lost"
                record.amount = charge_of(record, is_delivered=record.stream)
            connection.execute(INSERT_RECORDS, (rows.batch(records),))
        return len(records)
