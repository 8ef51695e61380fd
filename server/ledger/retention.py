"""Deletes old records, on request only; the daily sums, and so reports and budgets, stay."""

from datetime import date

from server.ledger.audit import note
from server.ledger.database import Database
from server.ledger.meta import remember, remembered
from server.ledger.periods import DAY_S, day_number

US = 1_000_000
PRUNED_UNTIL = "pruned_until_us"
"""What a node remembers: before it, records may be missing that were there."""
SLICE = 10_000
"""Rows a transaction: a running server waits some ms for its turn, not minutes."""


def prune(database: Database, before: date) -> int:
    """Delete the records that began before `before` (UTC); return how many. A node keeps what it
    has not yet shipped to its site."""
    until = day_number(before) * DAY_S * US
    is_local = bool(database.query("SELECT 1 FROM meta WHERE name = 'node_uid'"))
    sql = LOCAL if is_local else SITE
    if is_local:
        known = int(remembered(database, PRUNED_UNTIL) or 0)
        remember(database, PRUNED_UNTIL, str(max(known, until)))
    deleted = 0
    while count := _pruned(database, sql, until, before if not deleted else None):
        deleted += count
    return deleted


def _pruned(database: Database, sql: str, until: int, noted: date | None) -> int:
    """A slice of them; the first that takes any is noted with it."""
    with database.writing("audit"):
        count = database.execute(sql, (until, SLICE))
        if count and noted is not None:
            note(database, "records.prune", f"before {noted}")
    return count


SITE = """
DELETE FROM usage_records WHERE record_id IN
    (SELECT record_id FROM usage_records WHERE started_us < ? LIMIT ?)
"""
LOCAL = """
DELETE FROM records WHERE seq IN (
    SELECT seq FROM records WHERE started_us < ?
    AND (
        seq <= (SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'shipped_seq')
        OR NOT EXISTS (SELECT 1 FROM meta WHERE name = 'site')
    )
    AND seq NOT IN (SELECT seq FROM set_aside)
    LIMIT ?
)
"""
