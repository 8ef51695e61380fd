"""Ledgers as earlier versions of Fjord left them, with any number of records, made in SQL."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

SCHEMAS = Path(__file__).parents[1] / "tests/ledger/schemas"
"""What each version's own code made of an empty database."""
RELEASED = ("0001", "0002", "0003", "0004", "0005", "0007")
DAYS = 90
FIRST_US = 1_780_000_000_000_000
KINDS, AGENTS, USERS = 2_000, 20, 100_000
DEFERRED = (
    ("trigger", "records_added"),
    ("index", "records_record_id"),
    ("index", "records_started"),
)
"""Built once, when the rows are there."""

NUMBERS = """
WITH RECURSIVE numbers (n) AS (
    SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {last}
)
"""
SQLITE_WORDS = f"""
INSERT INTO words (id, word) {NUMBERS}
SELECT n, CASE WHEN n <= {AGENTS} THEN 'agent-' ELSE 'customer-' END || n FROM numbers
"""
SQLITE_KINDS = f"""
INSERT INTO kinds {NUMBERS}
SELECT n, 'key-' || (n % 500), 'owner-' || (n % 50), 'mixtral-8x7b', 'Qwen/Qwen3-8B', 'main',
    'chat', n % 2, 'ok', 'stop', 'oslo', 3000000, 1500000, 9000000, 'NOK', 'node-1' FROM numbers
"""
SQLITE_RECORDS = f"""
INSERT INTO records {NUMBERS}
SELECT n, 'req_' || lower(hex(randomblob(12)) || '.' || hex(randomblob(6))), 1 + n % {KINDS},
    n % {AGENTS}, n * 7919 % {USERS}, {FIRST_US} + n * {{step_us}}, 50000 + n % 9000,
    900000 + n % 70000, 300 + n % 700, n % 100, 100 + n % 150, 0, 2000 + n % 1000 FROM numbers
"""
SQLITE_DAILY = """
INSERT INTO daily
SELECT started_us / 86400000000, kind, agent, count(*), sum(prompt_tokens), sum(cached_tokens),
    sum(completion_tokens), sum(reasoning_tokens), sum(amount) FROM records GROUP BY 1, 2, 3
"""
POSTGRESQL_RECORDS = f"""
INSERT INTO usage_records
SELECT 'req_' || left(md5(n::text), 24) || '.' || left(md5((-n)::text), 12),
    'key-' || (n % 500), 'owner-' || (n % 50), 'mixtral-8x7b', 'Qwen/Qwen3-8B', 'main', 'chat',
    n % 2, 'ok', 'stop', 'agent-' || (n % {AGENTS}), 'customer-' || (n % {USERS}),
    'oslo', {FIRST_US} + n * {{step_us}}::bigint, 50000 + n % 9000, 900000 + n % 70000,
    300 + n % 700, n % 100, 100 + n % 150, 0, 3000000, 1500000, 9000000, 'NOK', 2000 + n % 1000,
    'node-1', '0123456789abcdef' FROM generate_series(1, {{last}}) AS numbers (n)
"""
POSTGRESQL_DAILY = """
INSERT INTO usage_daily
SELECT started_us / 86400000000, node_uid, key_id, owner, alias, region, agent_id, currency,
    price_input, price_cached, price_output, count(*), sum(prompt_tokens), sum(cached_tokens),
    sum(completion_tokens), sum(reasoning_tokens), sum(amount)
FROM usage_records GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
"""


def ddl(schema: str, dialect: str) -> str:
    return (SCHEMAS / f"{schema}-{dialect}.sql").read_text()


def step_us(records: int) -> int:
    """Between two records, so that they fill DAYS."""
    return DAYS * 86_400_000_000 // records


def make_sqlite(path: Path, schema: str, records: int) -> None:
    """A node's ledger at `path`, with `records` of them and the daily sums of them."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -400000")
        connection.executescript(ddl(schema, "sqlite"))
        connection.execute("BEGIN")
        deferred = [taken_away(connection, *which) for which in DEFERRED]
        connection.execute(SQLITE_WORDS.format(last=AGENTS + USERS))
        connection.execute(SQLITE_KINDS.format(last=KINDS))
        connection.execute(SQLITE_RECORDS.format(last=records, step_us=step_us(records)))
        connection.execute(SQLITE_DAILY)
        for statement in deferred:
            connection.execute(statement)
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def taken_away(connection: sqlite3.Connection, kind: str, name: str) -> str:
    """The statement that makes it again."""
    found = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (name,)).fetchone()
    connection.execute(f"DROP {kind} {name}")
    return str(found[0])


def make_postgresql(connection: Any, schema: str, records: int) -> None:
    """A site's tables in the empty database of `connection` (psycopg's), alike."""
    with connection.transaction():
        connection.execute("SET LOCAL statement_timeout = 0")
        connection.execute(ddl(schema, "postgresql"))
        connection.execute(POSTGRESQL_RECORDS.format(last=records, step_us=step_us(records)))
        connection.execute(POSTGRESQL_DAILY)
