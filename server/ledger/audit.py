"""Who changed what: entries that are only ever added, each with the hash of the one before it.

A row that is changed, taken out or put in between breaks the chain from there on, and `verified`
names it. What is cut off at its end is found by the head that the ledger remembers beside it, and
beyond doubt by a head that somebody noted elsewhere.
"""

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import msgspec

from server.ledger.database import Database
from server.ledger.errors import LedgerError
from server.ledger.meta import remember, remembered

TABLE: Final = "audit"
HEAD: Final = "audit_head"
START: Final = "0" * 64
"""What stands before the first entry."""
MOST_SHOWN: Final = 200
_MOST_BYTES: Final = 64 * 1024
_MOST_WORDS: Final = 500
_ROWS_AT_ONCE: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One change. `before` and `after`: JSON of what was changed; "": there was, or is, nothing."""

    number: int
    """From 1, without a gap."""
    at_us: int
    """Microseconds since 1970."""
    actor_kind: str
    actor: str
    address: str
    action: str
    """What was done to what kind of thing: key.create."""
    target: str
    """Which one: its id or name."""
    before: str
    after: str
    previous: str
    """The hash of the entry before, in hexadecimal."""
    digest: str
    """SHA-256 of all of the above."""

    @property
    def head(self) -> str:
        return f"{self.number}:{self.digest}"


COLUMNS: Final = tuple(field.name for field in fields(AuditEntry))
_SELECT: Final = f"SELECT {', '.join(COLUMNS)} FROM {TABLE}"
_INSERT: Final = f"INSERT INTO {TABLE} ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * 11)})"
_AFTER: Final = f"{_SELECT} WHERE number > ? ORDER BY number LIMIT {_ROWS_AT_ONCE}"


class ChainBroken(LedgerError):
    """The audit log is not as it was written; with the entry, and why."""


def note(
    database: Database,
    action: str,
    target: str,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Add an entry, within the transaction of the change itself: both are kept, or neither. What
    changed nothing is no entry."""
    if before == after and before is not None:
        return
    actor = database.actor
    with database.writing(TABLE):
        number, previous = _head(database)
        values = (
            number + 1,
            int(time.time() * 1_000_000),
            *(actor.kind, actor.name, actor.address),
            *(action, target[:_MOST_WORDS], _json(before), _json(after), previous),
        )
        entry = _of((*values, digest_of(values)))
        database.execute(_INSERT, (*values, entry.digest))
        remember(database, HEAD, entry.head)


def digest_of(values: Sequence[Any]) -> str:
    """Of all columns but the digest itself, as a JSON array."""
    return hashlib.sha256(msgspec.json.encode(values)).hexdigest()


def verified(database: Database, noted: str | None = None) -> AuditEntry | None:
    """The last entry; None: there is none. `noted`: a head that was told before. Raises
    ChainBroken."""
    heads = {_parted(head) for head in (noted, _remembered_head(database)) if head is not None}
    last, number, previous = None, 0, START
    for entry in entries(database):
        if entry.number != number + 1:
            raise ChainBroken(f"Entry {number + 1} of the audit log is missing.")
        if entry.previous != previous or entry.digest != digest_of(_chained(entry)):
            raise ChainBroken(f"Entry {entry.number} of the audit log was changed, or one before.")
        if any(n == entry.number and digest != entry.digest for n, digest in heads):
            raise ChainBroken(f"Entry {entry.number} of the audit log is another than it was.")
        number, previous, last = entry.number, entry.digest, entry
    if (known := max((n for n, _ in heads), default=0)) > number:
        raise ChainBroken(f"The audit log ends at entry {number}; it had one {known}.")
    return last


def _chained(entry: AuditEntry) -> list[Any]:
    return [getattr(entry, name) for name in COLUMNS[:-1]]


def _remembered_head(database: Database) -> str | None:
    """Raises ChainBroken where it is none: the caller has not said it."""
    head = remembered(database, HEAD)
    if head is not None:
        try:
            _parted(head)
        except LedgerError:
            raise ChainBroken("What is remembered of the audit log's end was changed.") from None
    return head


def _parted(head: str) -> tuple[int, str]:
    """Raises LedgerError."""
    number, _, digest = head.partition(":")
    if not (number.isdecimal() and len(number) < 19 and len(digest) == len(START)):
        shown = head[:MOST_SHOWN]
        raise LedgerError(
            f"{shown!r} is no head of an audit log; right would be 12:9f86d0…, 64 digits."
        )
    return int(number), digest


def entries(database: Database, after: int = 0) -> Iterator[AuditEntry]:
    """In order, those behind number `after`; a thousand in memory at a time."""
    while rows := database.query(_AFTER, (after,)):
        for row in rows:
            yield _of(row)
        after = rows[-1][0]


def newest(
    database: Database, limit: int, before: int | None = None, action: str | None = None
) -> list[AuditEntry]:
    """The last ones first; those before a number, of an action (key.create) or of what it is done
    to (key)."""
    where, parameters = ["number < ?"], list[Any]([2**62 if before is None else before])
    if action is not None:
        where.append("(action = ? OR substr(action, 1, ?) = ?)")
        parameters += [action, len(action) + 1, f"{action}."]
    query = f"{_SELECT} WHERE {' AND '.join(where)} ORDER BY number DESC LIMIT ?"
    rows = database.query(query, (*parameters, limit))
    return [_of(row) for row in rows]


def _of(row: Sequence[Any]) -> AuditEntry:
    return AuditEntry(**dict(zip(COLUMNS, row, strict=True)))


def _head(database: Database) -> tuple[int, str]:
    rows = database.query(f"SELECT number, digest FROM {TABLE} ORDER BY number DESC LIMIT 1")
    return (int(rows[0][0]), str(rows[0][1])) if rows else (0, START)


def _json(of: Mapping[str, Any] | None) -> str:
    """Of bounded length: what is longer is told by its hash."""
    if of is None:
        return ""
    text = msgspec.json.encode(of, order="sorted")
    if len(text) > _MOST_BYTES:
        told = {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()}
        text = msgspec.json.encode(told)
    return text.decode()
