"""Entries of the audit log as exports and pages have them."""

from datetime import UTC, datetime
from typing import Any

from server.ledger.audit import COLUMNS, AuditEntry


def exported(entry: AuditEntry) -> dict[str, Any]:
    """All of it as it is chained, and its time in words."""
    return {name: getattr(entry, name) for name in COLUMNS} | {"at": moment(entry)}


def moment(entry: AuditEntry) -> str:
    """ISO 8601, UTC; of a time that no calendar has, its number: somebody has changed it."""
    try:
        at = datetime.fromtimestamp(entry.at_us / 1_000_000, UTC)
    except (ValueError, OverflowError, OSError):
        return str(entry.at_us)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
