"""A node whose ledger came back from an older backup gets from its site what it shipped since.

Its budgets and reports would lack those records else. They take new numbers and are shipped once
more, which the site knows to be the same. A request that the backup had as running, and the start
closed as `lost`, is what it really was again.
"""

from typing import Any

import msgspec

from server.ledger.database import PostgresDatabase, Row, SqliteDatabase
from server.ledger.meta import remembered
from server.ledger.periods import DAY_S
from server.ledger.records import UsageRecord
from server.ledger.retention import PRUNED_UNTIL
from server.ledger.site_sql import COLUMNS, NAMES
from server.ledger.sqlite_rows import INSERT_RECORDS, US, SqliteRows

PAGE = 1000
LONGEST_US = DAY_S * US
"""A request that ended after the backup began so long before it at most."""

HAS_OF_NODE = f"""
SELECT {NAMES} FROM usage_records
WHERE node_uid = ? AND started_us >= ? AND (started_us, record_id) > (?, ?)
ORDER BY started_us, record_id LIMIT {PAGE}
"""
STARTED = COLUMNS.index("started_us")
NEWEST_SHIPPED = """
SELECT max(started_us) FROM records
WHERE seq <= (SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'shipped_seq')
"""
KNOWN = """
SELECT record_id FROM usage_records
WHERE record_id IN (SELECT value FROM json_each(?)) AND "end" IS NOT 'lost'
"""
UNCOUNT = """
UPDATE daily SET requests = daily.requests - 1,
    prompt_tokens = daily.prompt_tokens - lost.prompt_tokens,
    cached_tokens = daily.cached_tokens - lost.cached_tokens,
    completion_tokens = daily.completion_tokens - lost.completion_tokens,
    reasoning_tokens = daily.reasoning_tokens - lost.reasoning_tokens,
    amount = daily.amount - lost.amount
FROM records AS lost
WHERE lost.record_id = ? AND daily.day = lost.started_us / 86400000000
    AND daily.kind = lost.kind AND daily.agent = lost.agent
"""
FORGET = "DELETE FROM records WHERE record_id = ?"


def regain(local: SqliteDatabase, remote: PostgresDatabase, node_uid: str) -> int:
    """How many records the node has again. Safe to be cut off and run once more."""
    since = since_us(local)
    count, last_us, last_id = 0, since, ""
    while page := remote.query(HAS_OF_NODE, (node_uid, since, last_us, last_id)):
        count += take(local, page)
        last_us, last_id = page[-1][STARTED], page[-1][0]
    return count


def since_us(local: SqliteDatabase) -> int:
    """Before it the node lacks nothing, or has pruned what it lacks."""
    newest = local.query(NEWEST_SHIPPED)[0][0] or 0
    return max(newest - LONGEST_US, int(remembered(local, PRUNED_UNTIL) or 0), 0)


def take(local: SqliteDatabase, page: list[Row]) -> int:
    """What of `page` is missing, in one transaction with the sums of it."""
    ids = msgspec.json.encode([row[0] for row in page]).decode()
    rows = SqliteRows(local.connection)
    with rows.transaction():
        known = {id_ for (id_,) in local.query(KNOWN, (ids,))}
        missing = [record_of(row) for row in page if row[0] not in known]
        for record in missing:
            if local.execute(UNCOUNT, (record.record_id,)):
                local.execute(FORGET, (record.record_id,))
        local.execute(INSERT_RECORDS, (rows.batch(missing),))
    return len(missing)


def record_of(row: Row) -> UsageRecord:
    fields: dict[str, Any] = dict(zip(COLUMNS, row, strict=True))
    ttft_us = fields.pop("ttft_us")
    return UsageRecord(
        started_at=fields.pop("started_us") / US,
        ttft_s=None if ttft_us is None else ttft_us / US,
        duration_s=fields.pop("duration_us") / US,
        stream=bool(fields.pop("stream")),
        **fields,
    )
