"""What a ledger remembers by name: one row a fact."""

from server.ledger.database import Database


def remembered(database: Database, name: str) -> str | None:
    rows = database.query("SELECT value FROM meta WHERE name = ?", (name,))
    return rows[0][0] if rows else None


def remember(database: Database, name: str, value: str) -> None:
    database.execute(
        "INSERT INTO meta (name, value) VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )
