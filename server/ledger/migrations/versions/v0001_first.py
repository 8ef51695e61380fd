"""The first schema: keys, usage records, open requests, daily sums.

SQLite keeps a record small (a million in under 400 MB): what few requests differ in (key, alias,
price, ...) is one row of `kinds`; agents and users are `words`; id 0 means none. `daily` is kept by
triggers, in the transaction of the record itself, so the sums can never disagree with the records
and survive their deletion. PostgreSQL keeps the same facts in wide rows.
"""

from alembic import op

revision = "0001"
down_revision = None

KEYS = """
CREATE TABLE keys (
    key_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    owner TEXT NOT NULL,
    service TEXT NOT NULL,
    secret_hash {blob} NOT NULL UNIQUE,
    previous_hash {blob},
    previous_until {real},
    models TEXT,
    requests_per_minute BIGINT,
    burst BIGINT,
    concurrent BIGINT,
    tokens_per_minute BIGINT,
    budget_kind TEXT,
    budget_amount BIGINT,
    budget_period TEXT,
    currency TEXT,
    created_at {real} NOT NULL,
    expires_at {real},
    revoked_at {real}
)
"""
KEY_USE = "CREATE TABLE key_use (key_id TEXT PRIMARY KEY, last_used_at {real} NOT NULL)"
META = "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)"
KEYS_VERSION = "INSERT INTO meta (name, value) VALUES ('keys_version', '1')"

SQLITE = (
    KEYS.format(blob="BLOB", real="REAL"),
    KEY_USE.format(real="REAL"),
    META,
    KEYS_VERSION,
    "INSERT INTO meta (name, value) VALUES ('node_uid', lower(hex(randomblob(8))))",
    "INSERT INTO meta (name, value) VALUES ('shipped_seq', '0')",
    *(
        f"""CREATE TRIGGER keys_{verb.lower()} AFTER {verb} ON keys BEGIN
            UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE name = 'keys_version';
        END"""
        for verb in ("INSERT", "UPDATE", "DELETE")
    ),
    "CREATE TABLE words (id INTEGER PRIMARY KEY, word TEXT NOT NULL UNIQUE)",
    "INSERT INTO words (id, word) VALUES (0, '')",
    """
    CREATE TABLE kinds (
        id INTEGER PRIMARY KEY,
        key_id TEXT NOT NULL,
        owner TEXT NOT NULL,
        alias TEXT NOT NULL,
        weights TEXT NOT NULL,
        revision TEXT,
        endpoint TEXT NOT NULL,
        stream INTEGER NOT NULL,
        "end" TEXT NOT NULL,
        finish_reason TEXT,
        region TEXT,
        price_input INTEGER NOT NULL,
        price_cached INTEGER NOT NULL,
        price_output INTEGER NOT NULL,
        currency TEXT NOT NULL,
        node TEXT NOT NULL
    )
    """,
    "CREATE INDEX kinds_key ON kinds (key_id)",
    """
    CREATE TABLE records (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        record_id TEXT NOT NULL,
        kind INTEGER NOT NULL,
        agent INTEGER NOT NULL,
        user INTEGER NOT NULL,
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
    "CREATE UNIQUE INDEX records_record_id ON records (record_id)",
    "CREATE INDEX records_started ON records (started_us)",
    "CREATE TABLE open_requests (record_id TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID",
    """
    CREATE TABLE daily (
        day INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        agent INTEGER NOT NULL,
        requests INTEGER NOT NULL,
        prompt_tokens INTEGER NOT NULL,
        cached_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL,
        reasoning_tokens INTEGER NOT NULL,
        amount INTEGER NOT NULL,
        PRIMARY KEY (day, kind, agent)
    ) WITHOUT ROWID
    """,
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
    KEYS.format(blob="BYTEA", real="DOUBLE PRECISION"),
    KEY_USE.format(real="DOUBLE PRECISION"),
    META,
    KEYS_VERSION,
    """
    CREATE FUNCTION fjord_keys_changed() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE meta SET value = (value::bigint + 1)::text WHERE name = 'keys_version';
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER keys_changed AFTER INSERT OR UPDATE OR DELETE ON keys
    FOR EACH STATEMENT EXECUTE FUNCTION fjord_keys_changed()
    """,
    """
    CREATE TABLE usage_records (
        record_id TEXT PRIMARY KEY,
        key_id TEXT NOT NULL,
        owner TEXT NOT NULL,
        alias TEXT NOT NULL,
        weights TEXT NOT NULL,
        revision TEXT,
        endpoint TEXT NOT NULL,
        stream INTEGER NOT NULL,
        "end" TEXT NOT NULL,
        finish_reason TEXT,
        agent_id TEXT,
        "user" TEXT,
        region TEXT,
        started_us BIGINT NOT NULL,
        ttft_us BIGINT,
        duration_us BIGINT NOT NULL,
        prompt_tokens BIGINT NOT NULL,
        cached_tokens BIGINT NOT NULL,
        completion_tokens BIGINT NOT NULL,
        reasoning_tokens BIGINT NOT NULL,
        price_input BIGINT NOT NULL,
        price_cached BIGINT NOT NULL,
        price_output BIGINT NOT NULL,
        currency TEXT NOT NULL,
        amount BIGINT NOT NULL,
        node TEXT NOT NULL,
        node_uid TEXT NOT NULL
    )
    """,
    "CREATE INDEX usage_records_started ON usage_records (started_us)",
    """
    CREATE TABLE usage_daily (
        day BIGINT NOT NULL,
        node_uid TEXT NOT NULL,
        key_id TEXT NOT NULL,
        owner TEXT NOT NULL,
        alias TEXT NOT NULL,
        region TEXT NOT NULL,
        agent_id TEXT NOT NULL,
        currency TEXT NOT NULL,
        price_input BIGINT NOT NULL,
        price_cached BIGINT NOT NULL,
        price_output BIGINT NOT NULL,
        requests BIGINT NOT NULL,
        prompt_tokens BIGINT NOT NULL,
        cached_tokens BIGINT NOT NULL,
        completion_tokens BIGINT NOT NULL,
        reasoning_tokens BIGINT NOT NULL,
        amount BIGINT NOT NULL,
        PRIMARY KEY (
            key_id, day, node_uid, owner, alias, region, agent_id, currency,
            price_input, price_cached, price_output
        )
    )
    """,
    "CREATE INDEX usage_daily_day ON usage_daily (day)",
)


def upgrade() -> None:
    steps = SQLITE if op.get_context().dialect.name == "sqlite" else POSTGRESQL
    for statement in steps:
        op.execute(statement)
