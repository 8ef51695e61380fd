"""Alembic's entry: runs the steps inside the transaction that `schema.migrate` holds open."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
