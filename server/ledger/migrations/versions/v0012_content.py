"""What is kept of requests: what each level says of it, and the kept ones of a site, sealed. A node
without a site has them in the file of its memory (server/memory/database.py)."""

from alembic import op

revision = "0012"
down_revision = "0011"

LEVELS = ("keys", "members", "owners", "site")
POSTGRESQL = (
    """
    CREATE TABLE memory_requests (
        kept_id TEXT PRIMARY KEY,
        request_id TEXT NOT NULL,
        owner TEXT NOT NULL,
        key_id TEXT NOT NULL,
        at BIGINT NOT NULL,
        expires_at BIGINT NOT NULL,
        mode TEXT NOT NULL,
        path TEXT NOT NULL,
        status BIGINT NOT NULL,
        bytes BIGINT NOT NULL,
        sealed BYTEA NOT NULL
    )
    """,
    "CREATE INDEX memory_requests_request ON memory_requests (request_id)",
    "CREATE INDEX memory_requests_owner ON memory_requests (owner, at)",
    "CREATE INDEX memory_requests_expiry ON memory_requests (expires_at)",
)


def upgrade() -> None:
    for table in LEVELS:
        op.execute(f"ALTER TABLE {table} ADD COLUMN content TEXT")
        op.execute(f"ALTER TABLE {table} ADD COLUMN content_until DOUBLE PRECISION")
    if op.get_context().dialect.name != "sqlite":
        for statement in POSTGRESQL:
            op.execute(statement)
