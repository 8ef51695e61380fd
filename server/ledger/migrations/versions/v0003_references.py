"""References between a node's rows, records set aside, and how far a site has each node's records.

A record whose kind or word is missing (an id that a rolled-back transaction had inserted) was left
out of every report: it gets one that says `(lost N)`, and is shipped once more. Ids need no
AUTOINCREMENT but `seq`: kinds and words are never deleted.
"""

from alembic import op

revision = "0003"
down_revision = "0002"

WORDS_IN_USE = """
SELECT agent AS id FROM records UNION SELECT user FROM records UNION SELECT agent FROM daily
"""
KINDS_IN_USE = "SELECT kind AS id FROM records UNION SELECT kind FROM daily"

SQLITE = (
    """
    CREATE TABLE set_aside (
        seq INTEGER PRIMARY KEY,
        reason TEXT NOT NULL,
        is_due INTEGER NOT NULL DEFAULT 0
    )
    """,
    """
    INSERT INTO set_aside (seq, reason, is_due)
    SELECT seq, 'its words were lost', 1 FROM records
    WHERE seq <= (SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'shipped_seq')
    AND NOT (
        kind IN (SELECT id FROM kinds)
        AND agent IN (SELECT id FROM words)
        AND user IN (SELECT id FROM words)
    )
    """,
    f"""
    INSERT OR IGNORE INTO words (id, word)
    SELECT id, '(lost ' || id || ')' FROM ({WORDS_IN_USE}) WHERE id NOT IN (SELECT id FROM words)
    """,
    f"""
    INSERT INTO kinds
    SELECT id, '(lost)', '(lost)', '(lost)', '', NULL, '', 0, 'failed', NULL, NULL, 0, 0, 0,
        '(lost)', ''
    FROM ({KINDS_IN_USE}) WHERE id NOT IN (SELECT id FROM kinds)
    """,
    "DROP TRIGGER records_added",
    "DROP VIEW usage_daily",
    "DROP VIEW usage_records",
    """
    CREATE TABLE new_records (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        record_id TEXT NOT NULL,
        kind INTEGER NOT NULL REFERENCES kinds (id),
        agent INTEGER NOT NULL REFERENCES words (id),
        user INTEGER NOT NULL REFERENCES words (id),
        started_us INTEGER NOT NULL,
        ttft_us INTEGER,
        duration_us INTEGER NOT NULL,
        prompt_tokens INTEGER NOT NULL,
        cached_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL,
        reasoning_tokens INTEGER NOT NULL,
        amount INTEGER NOT NULL
    )
    """,
    "INSERT INTO new_records SELECT * FROM records",
    # a number that was used is never used again, also where its record was pruned
    "DELETE FROM sqlite_sequence WHERE name = 'new_records'",
    "UPDATE sqlite_sequence SET name = 'new_records' WHERE name = 'records'",
    "DROP TABLE records",
    "ALTER TABLE new_records RENAME TO records",
    "CREATE UNIQUE INDEX records_record_id ON records (record_id)",
    "CREATE INDEX records_started ON records (started_us)",
    """
    CREATE TABLE new_daily (
        day INTEGER NOT NULL,
        kind INTEGER NOT NULL REFERENCES kinds (id),
        agent INTEGER NOT NULL REFERENCES words (id),
        requests INTEGER NOT NULL,
        prompt_tokens INTEGER NOT NULL,
        cached_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL,
        reasoning_tokens INTEGER NOT NULL,
        amount INTEGER NOT NULL,
        PRIMARY KEY (day, kind, agent)
    ) WITHOUT ROWID
    """,
    "INSERT INTO new_daily SELECT * FROM daily",
    "DROP TABLE daily",
    "ALTER TABLE new_daily RENAME TO daily",
    """
    CREATE TRIGGER records_added AFTER INSERT ON records BEGIN
        DELETE FROM open_requests WHERE record_id = new.record_id;
        INSERT INTO key_use
        SELECT key_id, new.started_us / 1e6 FROM kinds WHERE id = new.kind
        ON CONFLICT (key_id) DO UPDATE SET last_used_at = max(last_used_at, excluded.last_used_at);
        INSERT INTO daily VALUES (
            new.started_us / 86400000000, new.kind, new.agent, 1, new.prompt_tokens,
            new.cached_tokens, new.completion_tokens, new.reasoning_tokens, new.amount
        ) ON CONFLICT (day, kind, agent) DO UPDATE SET
            requests = requests + 1,
            prompt_tokens = prompt_tokens + excluded.prompt_tokens,
            cached_tokens = cached_tokens + excluded.cached_tokens,
            completion_tokens = completion_tokens + excluded.completion_tokens,
            reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens,
            amount = amount + excluded.amount;
    END
    """,
    """
    CREATE VIEW usage_daily AS
    SELECT day, key_id, owner, alias, coalesce(region, '') AS region, word AS agent_id, currency,
        price_input, price_cached, price_output, requests, prompt_tokens, cached_tokens,
        completion_tokens, reasoning_tokens, amount
    FROM daily JOIN kinds ON kinds.id = daily.kind JOIN words ON words.id = daily.agent
    """,
    """
    CREATE VIEW usage_records AS
    SELECT seq, record_id, key_id, owner, alias, weights, revision, endpoint, stream, "end",
        finish_reason, nullif(agents.word, '') AS agent_id, nullif(users.word, '') AS "user",
        region, started_us, ttft_us, duration_us, prompt_tokens, cached_tokens, completion_tokens,
        reasoning_tokens, price_input, price_cached, price_output, currency, amount, node
    FROM records
    JOIN kinds ON kinds.id = records.kind
    JOIN words AS agents ON agents.id = records.agent
    JOIN words AS users ON users.id = records.user
    """,
)

POSTGRESQL = (
    """
    CREATE TABLE shipments (
        node_uid TEXT PRIMARY KEY,
        seq BIGINT NOT NULL,
        record_id TEXT NOT NULL
    )
    """,
)


def upgrade() -> None:
    steps = SQLITE if op.get_context().dialect.name == "sqlite" else POSTGRESQL
    for statement in steps:
        op.execute(statement)
