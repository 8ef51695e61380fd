"""A node's closed days, summed by one dimension alone, of all owners together and of each: few
rows, where the daily sums are many.

A day counts here while it is in `summed_days`; the database takes it out with whatever changes its
daily sums. The other days are read from the daily sums themselves, in the same statement.
"""

import time
from collections.abc import Iterator, Set
from typing import Final, NamedTuple

from server.ledger.database import Database, SqliteDatabase
from server.ledger.periods import day_of

DIMENSIONS: Final = {"alias": "alias", "key_id": "key", "agent_id": "agent"}
"""Column of usage_daily -> the dimension that has its values; `owner` is one of the whole site."""
SMALLEST: Final = "alias"
SUMS: Final = "requests, prompt_tokens, cached_tokens, completion_tokens, reasoning_tokens, amount"
SUMMED: Final = ", ".join(f"sum({name})" for name in SUMS.split(", "))
MOST_OPEN: Final = 31
"""Days: with more of them, as in the first minutes after an upgrade, nothing is gained."""

DAYS: Final = """
WITH RECURSIVE days (day) AS (
    SELECT min(day) FROM daily WHERE day >= {first}
    UNION ALL
    SELECT (SELECT min(day) FROM daily WHERE day > days.day) FROM days WHERE days.day < {after}
),
open_days AS (
    SELECT day FROM days WHERE day < {after} AND day NOT IN (SELECT day FROM summed_days)
)
"""
OPEN: Final = f"{DAYS} SELECT day FROM open_days ORDER BY day DESC"
SOURCE: Final = f"""
(
    SELECT day, {{owner}} AS owner, value AS {{column}}, currency, {SUMS} FROM day_sums
    WHERE dimension = '{{dimension}}' AND {{whose}} AND day >= {{first}} AND day < {{after}}
        AND day IN (SELECT day FROM summed_days)
    UNION ALL
    SELECT * FROM (
        {DAYS}
        SELECT rest.day, owner, {{column}}, currency, {SUMS}
        FROM open_days CROSS JOIN usage_daily AS rest ON rest.day = open_days.day
    )
)
"""
DAY_ROWS: Final = f"""
CREATE TEMP TABLE day_rows AS
SELECT owner, alias, key_id, agent_id, currency, {SUMS} FROM usage_daily WHERE day = {{day}}
"""
"""Joined once for all dimensions."""
DROP: Final = "DROP TABLE IF EXISTS temp.day_rows"
FORGET: Final = """
DELETE FROM day_sums
WHERE dimension = ? AND owner IN (SELECT owner FROM kinds UNION SELECT '') AND day = ?
"""
SUM: Final = f"""
INSERT INTO day_sums (dimension, owner, day, value, currency, {SUMS})
SELECT '{{dimension}}', {{owner}}, {{day}}, {{column}}, currency, {SUMMED}
FROM temp.day_rows GROUP BY {{owner}}, {{column}}, currency
"""


class Source(NamedTuple):
    sql: str
    parameters: tuple[str, ...]


def source(
    database: Database, asked: Set[str], owner: str | None, days: tuple[int, int]
) -> Source | None:
    """What stands for usage_daily where no more than these of its columns are asked for, and this
    owner; None: nothing smaller does. Only these columns are good in it."""
    rest = asked - {"owner"}
    if not isinstance(database, SqliteDatabase) or len(rest) > 1 or not rest <= set(DIMENSIONS):
        return None
    if len(open_days(database, *days)) > MOST_OPEN:
        return None
    column = min(rest, default=SMALLEST)
    facts = {"column": column, "dimension": DIMENSIONS[column], "owner": "owner"}
    facts |= {"whose": "owner = ''"} if owner is None else {"whose": "owner = ?"}
    if owner is None and "owner" in asked:
        by_both = {"whose": "owner <> ''"}
        facts |= by_both if rest else {"dimension": "owner", "owner": "value"}
    sql = SOURCE.format(first=days[0], after=days[1], **facts)
    return Source(sql, () if owner is None else (owner,))


def open_days(database: SqliteDatabase, first: int, after: int) -> list[int]:
    """Those with daily sums that are not summed, the last one first."""
    return [day for (day,) in database.query(OPEN.format(first=first, after=after))]


def sum_closed_days(database: SqliteDatabase, clock: float | None = None) -> Iterator[int]:
    """Each day up to yesterday that is not summed, the last one first, once it is. A transaction
    a day: 50 ms where it has ten thousand daily sums."""
    today = day_of(time.time() if clock is None else clock)
    for day in open_days(database, 0, today):
        with database.writing("day_sums"):
            sum_day(database, day)
        yield day


def sum_day(database: Database, day: int) -> None:
    """In the caller's transaction."""
    database.execute(DROP)
    database.execute(DAY_ROWS.format(day=day))
    for column, dimension in {"owner": "owner", **DIMENSIONS}.items():
        database.execute(FORGET, (dimension, day))
        for owner in ("''",) if dimension == "owner" else ("''", "owner"):
            facts = {"dimension": dimension, "owner": owner, "day": day, "column": column}
            database.execute(SUM.format(**facts))
    database.execute(DROP)
    database.execute("INSERT OR IGNORE INTO summed_days (day) VALUES (?)", (day,))
