"""A site's keys and their answers, in its PostgreSQL: whichever node is first has a key.

A process says every few seconds which requests it still answers. Where it does not for LOST_S, the
key is free for a retry, which runs under the record of the first: a site has each record once.
"""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Final, NamedTuple, TypeAlias, TypeVar

from server.idempotency import site_sql as sql
from server.idempotency.answer_store import AnswerStore, Fate
from server.idempotency.entry import DAY_S, MOST_KEYS, Entry, TooManyKeys
from server.ledger.database import Database, Row

MOST_LATE_BYTES: Final = 64 * 2**20
LATEST_S: Final = 3600.0
"""What waits in memory for the database to come back, and for how long."""
SLICE: Final = 1000
_ENTRY_BYTES: Final = 512
_TRIES: Final = 5
T = TypeVar("T")
Transaction: TypeAlias = Callable[[], AbstractContextManager[Database]]


class _Late(NamedTuple):
    """Something that could not be written."""

    size: int
    work: Callable[[], object]
    until: float
    """time.monotonic()"""


class SiteAnswers:
    """An AnswerStore of all nodes. Raises what `transaction` raises."""

    def __init__(
        self,
        transaction: Transaction,
        close: Callable[[], None],
        *,
        node: str,
        most_bytes: int,
        charged: Callable[[str], int | None],
        former: AnswerStore,
        most_keys: int = MOST_KEYS,
    ) -> None:
        """`node`: this process, its node's own name before a slash; `charged`: by this node's own
        ledger; `former`: what it kept when it had no site, which only goes."""
        self._transaction, self._close = transaction, close
        self._node, self._uid = node, node.partition("/")[0]
        self._most_bytes, self._most_keys = most_bytes, most_keys
        self._charged, self._former = charged, former
        self._lock = threading.Lock()
        self._late: dict[bytes, _Late] = {}
        """By entry."""

    def close(self) -> None:
        self._former.close()
        self._close()

    def claimed(self, entry: Entry) -> Entry:
        self._catch_up()
        try:
            found = self._claimed(entry)
        except TooManyKeys:
            raise
        except Exception:  # whether it was claimed or not, it does not run
            if entry.entry_id not in self._late:
                self._later(entry, 0, partial(self._forget, entry))
            raise
        if found is entry:
            with self._lock:
                self._late.pop(entry.entry_id, None)
        return found

    def _claimed(self, entry: Entry) -> Entry:
        for _ in range(_TRIES):  # what was found may be gone, or past its day
            with self._transaction() as database:
                if self._is_claimed(database, entry):
                    return entry
                rows = database.query(sql.FIND, (self._uid, entry.entry_id))
                if rows and rows[0][4] > entry.began - DAY_S:
                    return _entry(rows[0])
                self._expire(database, entry)
        raise TooManyKeys

    def _is_claimed(self, database: Database, entry: Entry) -> bool:
        owner = entry.owner.decode()
        values = (entry.entry_id, owner, entry.print, entry.record_id, entry.began, self._node)
        if not database.execute(sql.CLAIM, values):
            return False
        if not database.execute(sql.COUNT_KEY, (owner, self._most_keys)):
            raise TooManyKeys  # and the block takes its claim back
        return True

    def _expire(self, database: Database, entry: Entry) -> None:
        for owner, size in database.query(sql.EXPIRED, (entry.entry_id, entry.began - DAY_S)):
            database.execute(sql.COUNT, (-1, -size, owner))

    def fate(self, found: Entry) -> Fate:
        if not found.record_id or found.answer is not None:
            return "billed"
        amount = self._charged(found.record_id)
        if amount is None and found.node.partition("/")[0] != self._uid:
            if found.is_over:
                return "billed"
            with self._transaction() as database:
                rows = database.query(sql.CHARGED, (found.record_id,))
            if not rows:
                return "unknown"
            amount = rows[0][0]
        return "billed" if amount else "nothing"

    def replace(self, found: Entry, entry: Entry) -> bool:
        new = (entry.print, entry.record_id, entry.began, self._node)
        old = (found.entry_id, found.node, found.record_id, self._uid)
        with self._transaction() as database:
            return bool(database.execute(sql.REPLACE, (*new, *old)))

    def keep(self, entry: Entry, sealed: bytes) -> bool:
        return self._sure(entry, len(sealed), partial(self._keep, entry, sealed))

    def _sure(self, entry: Entry, size: int, work: Callable[[], T]) -> T:
        """Done now, or once the database is there again."""
        try:
            return work()
        except Exception:
            self._later(entry, size, work)
            raise

    def _later(self, entry: Entry, size: int, work: Callable[[], object]) -> None:
        with self._lock:
            held = sum(late.size for late in self._late.values())
            if held + size <= MOST_LATE_BYTES:
                until = time.monotonic() + LATEST_S
                self._late[entry.entry_id] = _Late(size + _ENTRY_BYTES, work, until)

    def _catch_up(self) -> None:
        """What cannot be written yet, and says so in the log, stays."""
        with self._lock:
            waiting = list(self._late.items())
        for entry_id, late in waiting:
            try:
                late.work()
            except Exception:
                if time.monotonic() < late.until:
                    continue
            with self._lock:
                self._late.pop(entry_id, None)

    def _keep(self, entry: Entry, sealed: bytes) -> bool:
        owner, size = entry.owner.decode(), len(sealed)
        with self._transaction() as database:
            [(all_, owners)] = database.query(sql.ROOM, (owner,))
            if all_ + size > self._most_bytes or owners + size > self._most_bytes // 2:
                database.execute(sql.END, self._own(entry))
                return False
            if database.execute(sql.KEEP, (sealed, size, *self._own(entry))):
                database.execute(sql.COUNT, (0, size, owner))
        return True

    def _own(self, entry: Entry) -> tuple[bytes, str, str]:
        return entry.entry_id, self._node, entry.record_id

    def end(self, entry: Entry) -> None:
        self._sure(entry, 0, partial(self._end, entry))

    def _end(self, entry: Entry) -> None:
        with self._transaction() as database:
            database.execute(sql.END, self._own(entry))

    def forget(self, entry: Entry) -> None:
        self._sure(entry, 0, partial(self._forget, entry))

    def _forget(self, entry: Entry) -> None:
        with self._transaction() as database:
            if database.execute(sql.FORGET, self._own(entry)):
                database.execute(sql.COUNT, (-1, 0, entry.owner.decode()))

    def forget_answers(self, owner: bytes) -> int:
        with self._transaction() as database:
            return forget_answers(database, owner.decode())

    def expire(self, now: float) -> None:
        self._former.expire(now)
        while self._swept(now) == SLICE:
            pass

    def _swept(self, now: float) -> int:
        with self._transaction() as database:
            [(is_alone,)] = database.query("SELECT pg_try_advisory_xact_lock(?)", (sql.SWEEPING,))
            if not is_alone:
                return 0
            [(count,)] = database.query(sql.SWEEP, (now - DAY_S, SLICE))
            database.execute(sql.NO_KEYS)
        return int(count)

    def beat(self, entry_ids: Sequence[bytes]) -> None:
        self._catch_up()
        if entry_ids:
            with self._transaction() as database:
                database.execute(sql.BEAT, (self._node, list(entry_ids)))


def forget_answers(database: Database, owner: str) -> int:
    """In a transaction; how many there were. Their keys stay known."""
    count = database.execute(sql.FORGET_ANSWERS, (owner,))
    database.execute(sql.NO_BYTES, (owner,))
    return count


def _entry(row: Row) -> Entry:
    entry_id, owner, print_, record_id, began, answer, node, is_over, runs = row
    return Entry(
        entry_id=bytes(entry_id),
        owner=owner.encode(),
        print=bytes(print_),
        record_id=record_id,
        began=began,
        answer=None if answer is None else bytes(answer),
        node=node,
        is_over=is_over,
        runs=runs,
    )
