"""The audit log; the database itself refuses to change or take out an entry."""

from alembic import op

revision = "0008"
down_revision = "0007"

TABLE = """
CREATE TABLE audit (
    number BIGINT PRIMARY KEY,
    at_us BIGINT NOT NULL,
    actor_kind TEXT NOT NULL,
    actor TEXT NOT NULL,
    address TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    before TEXT NOT NULL,
    after TEXT NOT NULL,
    previous TEXT NOT NULL,
    digest TEXT NOT NULL
)
"""

SQLITE = tuple(
    f"""
    CREATE TRIGGER audit_{verb.lower()} BEFORE {verb} ON audit BEGIN
        SELECT RAISE(ABORT, 'an entry of the audit log never changes');
    END
    """
    for verb in ("UPDATE", "DELETE")
)

POSTGRESQL = (
    """
    CREATE FUNCTION fjord_audit_changed() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'an entry of the audit log never changes';
    END $$
    """,
    """
    CREATE TRIGGER audit_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION fjord_audit_changed()
    """,
)


def upgrade() -> None:
    steps = SQLITE if op.get_context().dialect.name == "sqlite" else POSTGRESQL
    for statement in (TABLE, *steps):
        op.execute(statement)
