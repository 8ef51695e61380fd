"""Invoices that were issued, found by number or listed, the newest first."""

import re
from typing import Final, NamedTuple

from server.ledger.database import Database, NamedRow
from server.ledger.errors import InvoiceNotFound
from server.ledger.invoice import Invoice
from server.ledger.invoicing import HEAD_COLUMNS, stored

NUMBER: Final = re.compile(r"([0-9]{4})-([0-9]{4,9})")
SELECT: Final = f"SELECT {', '.join(HEAD_COLUMNS)} FROM invoices"
NEWEST: Final = f"""
{SELECT} WHERE (year, serial) < (?, ?) AND (owner = ? OR ? = 0)
ORDER BY year DESC, serial DESC LIMIT ?
"""


class InvoiceNumber(NamedTuple):
    year: int
    serial: int

    @classmethod
    def read(cls, text: str) -> "InvoiceNumber":
        """As `2026-0001`. Raises InvoiceNotFound."""
        found = NUMBER.fullmatch(text)
        if found is None:
            raise InvoiceNotFound(f"There is no invoice {text!r}.")
        return cls(int(found[1]), int(found[2]))


AFTER_ALL: Final = InvoiceNumber(10_000, 0)


def numbered(database: Database, text: str) -> Invoice:
    """Raises InvoiceNotFound."""
    number = InvoiceNumber.read(text)
    rows = database.named(f"{SELECT} WHERE year = ? AND serial = ?", number)
    if not rows:
        raise InvoiceNotFound(f"There is no invoice {text!r}.")
    return stored(database, rows[0])


def newest(
    database: Database, most: int, before: InvoiceNumber | None = None, owner: str | None = None
) -> list[NamedRow]:
    """Their heads, by column."""
    after = before or AFTER_ALL
    return database.named(NEWEST, (*after, owner or "", int(owner is not None), most))
