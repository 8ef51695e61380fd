"""What the ledger raises.

LedgerError
├── LedgerUnavailable   nothing can be written now, and why: refuse new work (503)
├── LedgerInUse         another server holds this data directory
├── BudgetExceeded      the key's budget has no room (402)
├── DuplicateRecord     a request id that already has a record
└── KeyNotFound         no key with this id
"""


class LedgerError(Exception):
    """The message is fit for an operator; of BudgetExceeded also for the caller."""


class LedgerUnavailable(LedgerError):
    """The ledger cannot be written (full disk, locked or unreadable file, stale site)."""

    retry_after_s = 5.0


class LedgerInUse(LedgerError):
    """Another server process holds the data directory."""


class BudgetExceeded(LedgerError):
    """The key's budget, open requests' reservations counted, has no room left."""


class DuplicateRecord(LedgerError):
    """This request id already has a record; an id is never used twice."""


class KeyNotFound(LedgerError):
    """No key has this id."""
