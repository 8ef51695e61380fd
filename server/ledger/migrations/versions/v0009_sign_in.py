"""Who may sign in to the console, and who has. Tokens and links are kept by their hash."""

from alembic import op

revision = "0009"
down_revision = "0008"

TABLES = (
    """
    CREATE TABLE passwords (
        member_id TEXT PRIMARY KEY,
        hash TEXT NOT NULL,
        changed_at DOUBLE PRECISION NOT NULL
    )
    """,
    """
    CREATE TABLE sessions (
        session_id TEXT PRIMARY KEY,
        member_id TEXT NOT NULL,
        began_at DOUBLE PRECISION NOT NULL,
        seen_at DOUBLE PRECISION NOT NULL,
        ends_at DOUBLE PRECISION NOT NULL,
        address TEXT NOT NULL,
        agent TEXT NOT NULL
    )
    """,
    "CREATE INDEX sessions_member ON sessions (member_id)",
    """
    CREATE TABLE sign_in_links (
        link_id TEXT PRIMARY KEY,
        member_id TEXT,
        ends_at DOUBLE PRECISION NOT NULL
    )
    """,
    """
    CREATE TABLE identities (
        issuer TEXT NOT NULL,
        subject TEXT NOT NULL,
        member_id TEXT NOT NULL,
        PRIMARY KEY (issuer, subject)
    )
    """,
)


def upgrade() -> None:
    for statement in TABLES:
        op.execute(statement)
