"""Invoices of a node's own ledger: whose they are where it joined a site, and of its past."""

from contextlib import closing
from datetime import date
from pathlib import Path

import pytest

from server.ledger import schema, sqlite
from server.ledger.database import SqliteDatabase
from server.ledger.errors import LedgerError
from server.ledger.invoicing import drafts, issue
from server.ledger.meta import remember
from tests.support.invoicing import SELLER, add, local_books, used

AFTER = date(2026, 12, 1)


def test_a_node_of_a_site_issues_nothing_of_its_own(tmp_path: Path) -> None:
    with local_books(tmp_path)() as database:
        add(database, used("2026-10"))
        remember(database, "site", "joined")
        with pytest.raises(LedgerError, match="belongs to a site"):
            issue(database, "acme", "2026-10", SELLER, AFTER)


def test_what_was_used_before_invoices_were_kept_goes_onto_none_unasked(tmp_path: Path) -> None:
    """A ledger of the schema before has billed its past otherwise; a past month that is issued
    nevertheless is treated as any."""
    path = tmp_path / sqlite.FILE_NAME
    schema.migrate(f"sqlite:///{path}", "0003")
    with closing(SqliteDatabase(path)) as old:
        add(old, used("2020-08", tokens=1), used("2020-09", tokens=2))
    with local_books(tmp_path)() as database:
        this_month = database.query("SELECT strftime('%Y-%m', 'now')")[0][0]
        assert drafts(database, "acme", this_month, None) == []
        (asked,) = issue(database, "acme", "2020-09", SELLER, AFTER)
        assert asked.net == 2
        add(database, used("2020-08", tokens=4), used("2020-09", tokens=8))
        (draft,) = drafts(database, "acme", this_month, None)
    assert draft.net == 8
