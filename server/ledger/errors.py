"""What the ledger raises.

LedgerError
├── LedgerUnavailable   nothing can be written now, and why: refuse new work (503)
├── LedgerInUse         another server holds this data directory
├── BudgetExceeded      the budget of the key, or of a level above it, has no room (402)
├── ReportTooLong       a report of more lines than may be (400)
├── DuplicateRecord     a request id that already has a record
├── TenantNotFound      (404)
│   ├── KeyNotFound     no key with this name or id
│   ├── OwnerNotFound   no owner
│   ├── MemberNotFound  no member
│   └── InvoiceNotFound no invoice that was issued
└── TenantConflict      a key, owner or member that does not fit the others (400)
"""


class LedgerError(Exception):
    """The message is fit for an operator; of BudgetExceeded also for the caller."""


class LedgerUnavailable(LedgerError):
    """The ledger cannot be written (full disk, locked or unreadable file, stale site)."""

    retry_after_s = 5.0


class LedgerInUse(LedgerError):
    """Another server process holds the data directory."""


class BudgetExceeded(LedgerError):
    """A budget, open requests' reservations counted, has no room left. `level`: whose it is."""

    def __init__(self, message: str, level: str = "key") -> None:
        super().__init__(message)
        self.level = level


class DuplicateRecord(LedgerError):
    """This request id already has a record; an id is never used twice."""


class ReportTooLong(LedgerError):
    """It has more lines than who asks takes."""


class TenantNotFound(LedgerError):
    """Nothing has this name or id."""


class KeyNotFound(TenantNotFound):
    """No key has this name or id."""


class OwnerNotFound(TenantNotFound):
    """No owner has this name or id."""


class MemberNotFound(TenantNotFound):
    """No member has this name or id."""


class InvoiceNotFound(TenantNotFound):
    """No issued invoice has this number."""


class TenantConflict(LedgerError):
    """It does not fit what is there; the message says what would."""
