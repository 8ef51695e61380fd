"""fjord_exchange of sites that had 0011 before: the last node that ended was refused, as it divided
by the number of nodes that were left."""

from importlib import import_module

from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    if op.get_context().dialect.name != "sqlite":
        nodes = import_module("server.ledger.migrations.versions.v0011_nodes")
        op.execute(nodes.EXCHANGE.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1))
