"""A site's nodes as its database has them: each one's newest process, and whether work is kept from
it."""

from dataclasses import dataclass
from typing import Any

from server.ledger.audit import note
from server.ledger.database import Database
from server.ledger.errors import TenantConflict, TenantNotFound

COLUMNS = """
process, node_uid, name, address, version, state, is_drained,
extract(epoch FROM now() - started_at)::float8 AS age_s,
extract(epoch FROM now() - seen_at)::float8 AS silent_s,
models
"""
LIST = f"""
SELECT * FROM (
    SELECT DISTINCT ON (node_uid) {COLUMNS} FROM nodes ORDER BY node_uid, started_at DESC
) AS newest ORDER BY name, node_uid
"""
DRAIN = "UPDATE nodes SET is_drained = ? WHERE process = ?"


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteNodeRow:
    """Ages by the database's clock."""

    process: str
    node_uid: str
    name: str
    address: str | None
    version: str
    state: str
    """As it told last: serving, draining, stopping, stopped."""
    is_drained: bool
    """An operator's word."""
    age_s: float
    silent_s: float
    """Since it was heard."""
    models: list[dict[str, Any]]
    """alias, state, requests, waiting."""


class NodeStore:
    """`database`: a site's."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def list(self) -> list[SiteNodeRow]:
        return [SiteNodeRow(**row) for row in self.database.named(LIST)]

    def find(self, word: str) -> SiteNodeRow:
        """By id, or else by name. Raises TenantNotFound, and TenantConflict where two have that
        name."""
        rows = self.list()
        found = [row for row in rows if row.node_uid == word]
        found = found or [row for row in rows if row.name == word]
        if not found:
            raise TenantNotFound(f"No node of this site is called {word!r}.")
        if len(found) > 1:
            ids = ", ".join(row.node_uid for row in found[:5])
            raise TenantConflict(
                f"{len(found)} nodes are called {word!r}: name one by its id, {ids}"
            )
        return found[0]

    def drain(self, word: str, *, is_drained: bool) -> SiteNodeRow:
        """Raises as `find`. In the audit log with the change."""
        with self.database.writing("nodes"):
            row = self.find(word)
            if row.is_drained != is_drained:
                self.database.execute(DRAIN, (is_drained, row.process))
                action = "node.drain" if is_drained else "node.undrain"
                note(self.database, action, row.name, None, {"node": row.node_uid})
        return self.find(row.node_uid)
