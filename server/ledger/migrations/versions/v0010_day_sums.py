"""A node's daily sums once more, summed by owner, by alias, by key and by agent alone, and of each
owner so: what a year is read from in milliseconds. `owner` is '' in rows of the whole site.

A day is in `summed_days` while its rows of `day_sums` are the sums of `daily`. Whatever changes
`daily` takes the day out, in the same transaction, and it is read from `daily` until it is summed
again: so the two can never disagree. A site's PostgreSQL has nothing of it.
"""

from alembic import op

revision = "0010"
down_revision = "0009"

SQLITE = (
    """
    CREATE TABLE day_sums (
        dimension TEXT NOT NULL,
        owner TEXT NOT NULL,
        day INTEGER NOT NULL,
        value TEXT NOT NULL,
        currency TEXT NOT NULL,
        requests INTEGER NOT NULL,
        prompt_tokens INTEGER NOT NULL,
        cached_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL,
        reasoning_tokens INTEGER NOT NULL,
        amount INTEGER NOT NULL,
        PRIMARY KEY (dimension, owner, day, value, currency)
    ) WITHOUT ROWID
    """,
    "CREATE TABLE summed_days (day INTEGER PRIMARY KEY)",
    *(
        f"""CREATE TRIGGER daily_{verb.lower()} AFTER {verb} ON daily BEGIN
            DELETE FROM summed_days WHERE day = {row}.day;
        END"""
        for verb, row in (("INSERT", "new"), ("UPDATE", "new"), ("DELETE", "old"))
    ),
)


def upgrade() -> None:
    if op.get_context().dialect.name == "sqlite":
        for statement in SQLITE:
            op.execute(statement)
