"""A node's closed days, summed by one dimension alone: few rows, where the daily sums are many.

A day counts here while it is in `summed_days`; the database takes it out with whatever changes its
daily sums. The other days are read from the daily sums themselves, in the same statement.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Final

from server.ledger.database import Database, SqliteDatabase
from server.ledger.periods import day_of

COLUMNS: Final = {"owner": "owner", "alias": "alias", "key": "key_id", "agent": "agent_id"}
"""Dimension -> the column of usage_daily whose values it has."""
OF_COLUMN: Final = {column: dimension for dimension, column in COLUMNS.items()}
SMALLEST: Final = "alias"
SUMS: Final = "requests, prompt_tokens, cached_tokens, completion_tokens, reasoning_tokens, amount"
SUMMED: Final = ", ".join(f"sum({name})" for name in SUMS.split(", "))

SOURCE: Final = f"""
(
    SELECT day, value AS {{column}}, currency, {SUMS} FROM day_sums
    WHERE dimension = '{{dimension}}' AND day >= {{first}} AND day < {{after}}
        AND day IN (SELECT day FROM summed_days)
    UNION ALL
    SELECT * FROM (
        WITH RECURSIVE days (day) AS (
            SELECT min(day) FROM daily WHERE day >= {{first}}
            UNION ALL
            SELECT (SELECT min(day) FROM daily WHERE day > days.day) FROM days
            WHERE days.day < {{after}}
        ),
        open_days AS (SELECT day FROM days WHERE day NOT IN (SELECT day FROM summed_days))
        SELECT rest.day, {{column}}, currency, {SUMS}
        FROM open_days CROSS JOIN usage_daily AS rest ON rest.day = open_days.day
        WHERE rest.day < {{after}}
    )
)
"""
FORGET: Final = "DELETE FROM day_sums WHERE dimension = ? AND day = ?"
SUM: Final = f"""
INSERT INTO day_sums (dimension, day, value, currency, {SUMS})
SELECT '{{dimension}}', day, {{column}}, currency, {SUMMED}
FROM usage_daily WHERE day = ? GROUP BY day, {{column}}, currency
"""
TO_SUM: Final = """
WITH RECURSIVE days (day) AS (
    SELECT min(day) FROM daily
    UNION ALL SELECT (SELECT min(day) FROM daily WHERE day > days.day) FROM days WHERE days.day < ?
)
SELECT day FROM days WHERE day < ? AND day NOT IN (SELECT day FROM summed_days)
ORDER BY day DESC
"""


def source(database: Database, columns: Sequence[str], days: tuple[int, int]) -> str | None:
    """What stands for usage_daily where no more than these of its columns are asked for; None:
    nothing smaller does."""
    dimensions = {OF_COLUMN.get(column) for column in columns}
    if not isinstance(database, SqliteDatabase) or None in dimensions or len(dimensions) > 1:
        return None
    [dimension] = dimensions or {SMALLEST}
    assert dimension is not None
    first, after = days
    column = COLUMNS[dimension]
    return SOURCE.format(column=column, dimension=dimension, first=first, after=after)


def sum_closed_days(database: SqliteDatabase, clock: float | None = None) -> Iterator[int]:
    """Each day up to yesterday that is not summed, the last one first, once it is. A transaction
    a day: 50 ms where it has ten thousand daily sums."""
    today = day_of(time.time() if clock is None else clock)
    for (day,) in database.query(TO_SUM, (today, today)):
        with database.writing("day_sums"):
            sum_day(database, day)
        yield day


def sum_day(database: Database, day: int) -> None:
    """In the caller's transaction."""
    for dimension, column in COLUMNS.items():
        database.execute(FORGET, (dimension, day))
        database.execute(SUM.format(dimension=dimension, column=column), (day,))
    database.execute("INSERT OR IGNORE INTO summed_days (day) VALUES (?)", (day,))
