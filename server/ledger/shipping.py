"""Sends a node's records to its site: each once, in the order in which they were written.

The site marks how far it has a node's records, in the transaction that takes them. A connection
that is cut, a site that comes back from an older backup (also beneath an open connection) and a
node that does not know whether its last shipment arrived all find out from that mark. A record that
the site's database refuses (a text too long for its index, ...) is set aside alone, and those
behind it go on; to be tried again it takes its place behind all others, so that the mark tells of
it too.
"""

import logging
from collections.abc import Sequence
from typing import Any

import msgspec

from server.ledger import postgres
from server.ledger.database import Database, PostgresDatabase, Row, SqliteDatabase
from server.ledger.errors import LedgerError
from server.ledger.meta import remember, remembered
from server.ledger.regaining import regain
from server.ledger.site_sql import (
    COLUMNS,
    KNOWN,
    MARK,
    MARKED,
    QUEUE_AGAIN,
    SET_ASIDE,
    SHIP,
    UNSHIPPED,
    USED_KEYS,
)

log = logging.getLogger("fjord.ledger")

BATCH = 1000


class Shipping:
    """Belongs to the thread of the replication; `local` is its connection to the node's ledger."""

    def __init__(self, local: SqliteDatabase, node_uid: str) -> None:
        self.local = local
        self.node_uid = node_uid
        self.marked: list[Row] = []
        """What the site marks of this node: seq and record id, as it was last met or told."""
        self.was_restored = False
        """The site has records of this node that it lacks itself."""

    @property
    def shipped_seq(self) -> int:
        return int(remembered(self.local, "shipped_seq") or 0)

    def meet(self, remote: PostgresDatabase) -> None:
        """At each new connection: go on from what the site really has."""
        shipped = self.shipped_seq
        self.marked = remote.query(MARKED, (self.node_uid,))
        if self.marked:
            self.follow(shipped, *self.marked[0])
        elif remembered(self.local, "site_marked"):
            log.warning("the site knows none of this node's records: they are shipped again")
            remember(self.local, "shipped_seq", "0")
        remember(self.local, "site_marked", "1")

    def follow(self, shipped: int, seq: int, record_id: str) -> None:
        if seq < shipped:
            log.warning(
                "the site lacks this node's records from %d to %d: shipped again", seq, shipped
            )
            remember(self.local, "shipped_seq", str(seq))
        elif seq > shipped and self.local.query(KNOWN, (seq, record_id)):
            remember(self.local, "shipped_seq", str(seq))
        elif seq > shipped:
            self.was_restored = True

    def regain(self, remote: PostgresDatabase) -> None:
        """Before anything is shipped: a new mark would hide what is missing here."""
        count = regain(self.local, remote, self.node_uid)
        self.was_restored = False
        log.warning("this node's ledger was restored: its site had %d records more", count)

    def ship(self, remote: PostgresDatabase) -> int:
        """Send the next records; return how many. Raises LedgerError where the site has to be met
        anew."""
        rows = self.local.query(UNSHIPPED, (self.shipped_seq, BATCH))
        if rows:
            self.send(remote, rows)
        else:
            self.check_mark(remote)
        return len(rows)

    def check_mark(self, remote: PostgresDatabase) -> None:
        if remote.query(MARKED, (self.node_uid,)) != self.marked:
            raise LedgerError(
                "it has other records of this node than it had; was it restored from a backup, or "
                "does another node serve on a copy of this data directory?"
            )

    def send(self, remote: PostgresDatabase, rows: Sequence[Row]) -> None:
        """In halves where the site refuses them, down to the one that it cannot hold."""
        seq, record_id = rows[-1][:2]
        try:
            self.store(remote, rows, seq, record_id)
        except Exception as error:
            if not postgres.is_refusal(error):
                raise
            if len(rows) > 1:
                self.send(remote, rows[: len(rows) // 2])
                self.send(remote, rows[len(rows) // 2 :])
                return
            self.set_aside(seq, error)
            self.store(remote, [], seq, record_id)
        remember(self.local, "shipped_seq", str(seq))

    def store(
        self, remote: PostgresDatabase, rows: Sequence[Row], seq: int, record_id: str
    ) -> None:
        """`rows`, and the mark that says so."""
        batch = [dict(zip(COLUMNS, row[1:], strict=True)) for row in rows]
        with remote.transaction():
            self.check_mark(remote)
            if batch:
                remote.execute(SHIP, (msgspec.json.encode(batch).decode(), self.node_uid))
                remote.execute(USED_KEYS, (msgspec.json.encode(last_used(batch)).decode(),))
            remote.execute(MARK, (self.node_uid, seq, record_id))
        self.marked = [(seq, record_id)]

    def set_aside(self, seq: int, error: Exception) -> None:
        reason = postgres.one_line(error)
        log.error("the site refuses record %d of this node, it is set aside: %s", seq, reason)
        self.local.execute(SET_ASIDE, (seq, reason))

    def queue_again(self) -> None:
        """What was set aside and asked for since goes behind all that waits."""
        due = self.local.query("SELECT seq FROM set_aside WHERE is_due")
        if not due:
            return
        with self.local.writing("records"):
            for (seq,) in due:
                for statement in QUEUE_AGAIN:
                    self.local.execute(statement, (seq,))

    def count_unshipped(self) -> int:
        """At most so many, by their numbers: however many they are, it takes microseconds."""
        last = self.local.query("SELECT max(seq) FROM records")[0][0] or 0
        return max(0, int(last) - self.shipped_seq)

    def count_set_aside(self) -> int:
        return int(self.local.query("SELECT count(*) FROM set_aside")[0][0])


def retry_set_aside(local: Database) -> int:
    """Ask the node's server to ship what was set aside; return how many records that are."""
    return local.execute("UPDATE set_aside SET is_due = 1")


def last_used(batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
    latest: dict[str, float] = {}
    for row in batch:
        latest[row["key_id"]] = max(latest.get(row["key_id"], 0.0), row["started_us"] / 1e6)
    return [{"key_id": key_id, "last_used_at": at} for key_id, at in latest.items()]
