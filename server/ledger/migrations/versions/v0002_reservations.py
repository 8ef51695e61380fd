"""A site's table of what the open requests of each node may yet cost; a node alone has no need."""

from alembic import op

revision = "0002"
down_revision = "0001"

RESERVATIONS = """
CREATE TABLE reservations (
    node_uid TEXT NOT NULL,
    key_id TEXT NOT NULL,
    unit TEXT NOT NULL,
    reserved BIGINT NOT NULL,
    seen_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (node_uid, key_id)
)
"""


def upgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        op.execute(RESERVATIONS)
