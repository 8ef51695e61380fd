"""The schema of both databases, step by step (alembic)."""
