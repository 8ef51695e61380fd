"""What a ledger remembers by name: one row a fact."""

from server.ledger.database import Database

KEYS_OF_SITE = "keys_of_site"
"""Set while a node's keys are a copy of its site's."""
SITE_NODES = "site_nodes"
"""How many nodes the site had."""


def remembered(database: Database, name: str) -> str | None:
    rows = database.query("SELECT value FROM meta WHERE name = ?", (name,))
    return rows[0][0] if rows else None


def remember(database: Database, name: str, value: str) -> None:
    database.execute(
        "INSERT INTO meta (name, value) VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )


def forget(database: Database, name: str) -> None:
    database.execute("DELETE FROM meta WHERE name = ?", (name,))
