"""Sessions and one-time links end for good with what they stand on: they are not there again when
a member is enabled, or an owner restored."""

from typing import Final

from server.ledger.database import Database

TABLES: Final = ("sessions", "sign_in_links")


def end_ways_in(books: Database, member_id: str) -> None:
    """Of a member, within a transaction."""
    for table in TABLES:
        books.execute(f"DELETE FROM {table} WHERE member_id = ?", (member_id,))


def end_ways_in_of(books: Database, owner: str) -> None:
    """Of all members of an owner, within a transaction."""
    theirs = "SELECT member_id FROM members WHERE owner = ?"
    for table in TABLES:
        books.execute(f"DELETE FROM {table} WHERE member_id IN ({theirs})", (owner,))
