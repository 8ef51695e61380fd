"""The one row of the site's own allowance."""

from collections.abc import Callable

from server.ledger.allowance_rows import (
    ALLOWANCE_COLUMNS,
    allowance_fields,
    allowance_row,
    upsert,
)
from server.ledger.audit import note
from server.ledger.audit_forms import told
from server.ledger.database import Database
from server.ledger.tenants import SiteLevel

SELECT = f"SELECT {', '.join(ALLOWANCE_COLUMNS)} FROM site"
UPSERT = upsert("site", ("id", *ALLOWANCE_COLUMNS))


class SiteStore:
    """On SQLite and on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def get(self) -> SiteLevel:
        rows = self.database.named(SELECT)
        return SiteLevel(**allowance_fields(rows[0])) if rows else SiteLevel()

    def update(self, change: Callable[[SiteLevel], SiteLevel]) -> SiteLevel:
        """Store what `change` makes of it; nobody else's change comes in between."""
        with self.database.writing("keys"):
            before = self.get()
            changed = change(before)
            self.save(changed)
            note(self.database, "site.update", "site", told(before), told(changed))
        return changed

    def save(self, site: SiteLevel) -> None:
        row = allowance_row(site)
        self.database.execute(UPSERT, [1, *(row[name] for name in ALLOWANCE_COLUMNS)])
