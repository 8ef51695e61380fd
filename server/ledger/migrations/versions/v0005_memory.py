"""Kept responses and conversations of a site, sealed. A node without a site has them in a file of
its own (server/memory/database.py), so that its ledger's writer never waits for one."""

from alembic import op

revision = "0005"
down_revision = "0004"

POSTGRESQL = (
    "CREATE TABLE memory_check (name TEXT PRIMARY KEY, value BYTEA NOT NULL)",
    """
    CREATE TABLE memory_owners (
        owner TEXT PRIMARY KEY,
        data_key BYTEA NOT NULL,
        bytes BIGINT NOT NULL
    )
    """,
    """
    CREATE TABLE memory_responses (
        response_id TEXT PRIMARY KEY,
        owner TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        expires_at BIGINT NOT NULL,
        previous_id TEXT,
        conversation_id TEXT,
        is_background BIGINT NOT NULL,
        status TEXT NOT NULL,
        depth BIGINT NOT NULL,
        context_bytes BIGINT NOT NULL,
        bytes BIGINT NOT NULL,
        node TEXT NOT NULL,
        beat_at BIGINT NOT NULL,
        cancel_asked BIGINT NOT NULL,
        head BYTEA NOT NULL,
        turn BYTEA NOT NULL
    )
    """,
    "CREATE INDEX memory_responses_owner ON memory_responses (owner)",
    "CREATE INDEX memory_responses_expiry ON memory_responses (expires_at)",
    """
    CREATE INDEX memory_responses_open ON memory_responses (owner)
    WHERE status IN ('queued', 'in_progress')
    """,
    """
    CREATE TABLE memory_events (
        response_id TEXT NOT NULL,
        part BIGINT NOT NULL,
        first_number BIGINT NOT NULL,
        bytes BIGINT NOT NULL,
        sealed BYTEA NOT NULL,
        PRIMARY KEY (response_id, part)
    )
    """,
    """
    CREATE TABLE memory_items_of (
        owner TEXT NOT NULL,
        item_id TEXT NOT NULL,
        response_id TEXT NOT NULL,
        PRIMARY KEY (owner, item_id)
    )
    """,
    "CREATE INDEX memory_items_of_response ON memory_items_of (response_id)",
    """
    CREATE TABLE memory_conversations (
        conversation_id TEXT PRIMARY KEY,
        owner TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        expires_at BIGINT NOT NULL,
        next_seq BIGINT NOT NULL,
        items BIGINT NOT NULL,
        bytes BIGINT NOT NULL,
        context_bytes BIGINT NOT NULL,
        sealed BYTEA NOT NULL
    )
    """,
    "CREATE INDEX memory_conversations_owner ON memory_conversations (owner)",
    "CREATE INDEX memory_conversations_expiry ON memory_conversations (expires_at)",
    """
    CREATE TABLE memory_conversation_items (
        conversation_id TEXT NOT NULL,
        seq BIGINT NOT NULL,
        item_id TEXT NOT NULL,
        bytes BIGINT NOT NULL,
        plain_bytes BIGINT NOT NULL,
        sealed BYTEA NOT NULL,
        PRIMARY KEY (conversation_id, seq),
        UNIQUE (conversation_id, item_id)
    )
    """,
)


def upgrade() -> None:
    if op.get_context().dialect.name != "sqlite":
        for statement in POSTGRESQL:
            op.execute(statement)
