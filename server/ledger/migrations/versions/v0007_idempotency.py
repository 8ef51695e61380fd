"""Keys of requests that come again, and their sealed answers, of all nodes of a site. A node
without a site has them in a file of its own (server/idempotency/store.py)."""

from alembic import op

revision = "0007"
down_revision = "0006"

POSTGRESQL = (
    """
    CREATE TABLE idempotency_entries (
        entry_id BYTEA PRIMARY KEY,
        owner TEXT NOT NULL,
        print BYTEA NOT NULL,
        record_id TEXT NOT NULL,
        began DOUBLE PRECISION NOT NULL,
        node TEXT NOT NULL,
        beat_at TIMESTAMPTZ NOT NULL,
        is_over BOOLEAN NOT NULL,
        bytes BIGINT NOT NULL,
        answer BYTEA
    )
    """,
    "CREATE INDEX idempotency_entries_began ON idempotency_entries (began)",
    "CREATE INDEX idempotency_entries_owner ON idempotency_entries (owner)",
    """
    CREATE TABLE idempotency_owners (
        owner TEXT PRIMARY KEY,
        keys BIGINT NOT NULL,
        bytes BIGINT NOT NULL
    )
    """,
)


def upgrade() -> None:
    if op.get_context().dialect.name != "sqlite":
        for statement in POSTGRESQL:
            op.execute(statement)
