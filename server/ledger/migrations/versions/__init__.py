"""One file a step; the SQLite ledger and the site's PostgreSQL move together."""
