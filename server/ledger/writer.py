"""Group commit: one thread writes everything that waits in one transaction, then the next.

A commit (0.3 ms) holds all that is queued, and is made once the first of it is due (gathering.py
says how long each may wait), or somebody hurries it. A record that cannot be written stays in
memory and is tried again until it can.
"""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import Any, TypeAlias

from server.ledger import sqlite
from server.ledger.errors import DuplicateRecord, LedgerError, LedgerUnavailable
from server.ledger.progress import REMEMBER
from server.ledger.records import UsageRecord
from server.ledger.sqlite_rows import INSERT_OPEN, INSERT_RECORDS, SqliteRows
from server.ledger.write_ops import Close, Op, Open, Progress, Query

log = logging.getLogger("fjord.ledger")

BATCH = 2000
RETRY_S = 0.25
PATIENCE_S = 5.0
"""A finished record waits so long for a sick disk before its request is told."""

Connect: TypeAlias = Callable[[Path], sqlite3.Connection]
NO_ROW = (ValueError, OverflowError)
"""What a record raises that no row can hold."""


class Writer:
    """Owns the writing connection and its thread. `submit` never blocks."""

    def __init__(
        self,
        path: Path,
        connect: Connect = sqlite.connect,
    ) -> None:
        self.path = path
        self.connect = connect
        self.queue: SimpleQueue[Op] = SimpleQueue()
        self.patience_s = PATIENCE_S
        self.trouble: str | None = None
        self.kept: list[Close] = []
        self.progress: str | None = None
        """The newest, until it is written."""
        self.committed_at: float | None = None
        """When a transaction of ours was last on disk, in Unix seconds."""
        self.is_stopping = False
        self.is_over = False
        self.thread: Thread | None = None
        self.due_at = 0.0
        """What is due before this wakes the thread; 0 while it need not be."""
        self.is_hurried = False
        self.woken = Event()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self.open(loop)
        self.thread = Thread(target=self.run, name="ledger-writer", daemon=True)
        self.thread.start()

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.connection = self.connect(self.path)
        self.rows = SqliteRows(self.connection)

    def submit(self, op: Op) -> None:
        self.queue.put(op)
        if op is None or op.due_at < self.due_at:
            self.woken.set()
        if self.is_over:
            self.refuse_rest()

    def hurry(self) -> None:
        """Somebody waits for what is queued: write it without waiting for more."""
        self.is_hurried = True
        self.woken.set()

    def call(self, work: Callable[[sqlite3.Connection], Any]) -> Future[Any]:
        """Run `work` on the writing connection after everything queued before it."""
        call = Query(work, Future())
        self.submit(call)
        return call.result

    def stop(self) -> None:
        """Write what waits, then end. Blocks; call it off the loop."""
        if self.thread is None:
            return
        self.submit(None)
        self.thread.join()
        self.is_over = True
        self.refuse_rest()
        self.connection.close()

    def refuse_rest(self) -> None:
        """Nobody waits for what is not written any more: it is `lost` at the next start."""
        refusal = LedgerUnavailable("The server is shutting down.")
        self.tell(self.kept, refusal)
        with suppress(Empty):
            while True:
                op = self.queue.get_nowait()
                if isinstance(op, Query):
                    op.result.set_exception(refusal)
                elif isinstance(op, Open | Close):
                    self.tell([op], refusal)

    def run(self) -> None:
        while not self.is_stopping:
            self.turn(self.take())
        last_try_at = time.monotonic() + self.patience_s
        while self.kept and time.monotonic() < last_try_at:
            time.sleep(RETRY_S)
            self.turn([])

    def take(self) -> list[Op]:
        """What is queued once the first of it is due. What comes meanwhile wakes nobody."""
        try:
            batch = [self.queue.get(timeout=RETRY_S if self.trouble else None)]
        except Empty:
            return []
        self.gather(batch)
        was_hurried = self.is_hurried
        self.due_at, self.is_hurried = 0.0, False
        self.fill(batch)
        if was_hurried and not self.queue.empty():  # behind a Query
            self.is_hurried = True
        return batch

    def gather(self, batch: list[Op]) -> None:
        while not self.is_hurried:
            self.due_at = due_of(batch)
            if self.fill(batch):
                continue  # `submit` may not have seen `due_at`
            if (wait_s := self.due_at - time.monotonic()) <= 0:
                return
            self.woken.wait(wait_s)
            self.woken.clear()

    def fill(self, batch: list[Op]) -> bool:
        """Whether there was more, up to a Query: what is queued behind one is not in its answer."""
        before = len(batch)
        with suppress(Empty):
            while len(batch) < BATCH and not isinstance(batch[-1], Query):
                batch.append(self.queue.get_nowait())
        return len(batch) > before

    def turn(self, batch: list[Op]) -> None:
        self.is_stopping = self.is_stopping or None in batch
        self.kept += [op for op in batch if isinstance(op, Close)]
        closed = {op.record.record_id for op in self.kept}
        opens = [op for op in batch if isinstance(op, Open)]
        for op in batch:
            if isinstance(op, Progress):
                self.progress = op.text
        try:
            self.write([op for op in opens if op.record_id not in closed])
            if self.trouble:
                self.probe()
        except Exception as error:  # the disk's, mostly; whatever it is, this thread lives on
            self.fall_ill(error)
            self.give_up(opens)
        else:
            self.trouble = None
            self.tell(opens)
        for op in batch:
            if isinstance(op, Query):
                self.answer(op)

    def write(self, opens: list[Open]) -> None:
        """What is kept and `opens` in one transaction; each alone where that fails."""
        if self.kept and (opens or self.progress) and not self.trouble:
            with suppress(sqlite3.Error, *NO_ROW):
                self.commit(self.kept, opens)
                return
        if self.kept:
            self.write_closes()
        if opens or self.progress:
            self.commit([], opens)

    def write_closes(self) -> None:
        try:
            self.commit(self.kept, [])
        except (sqlite3.IntegrityError, *NO_ROW):
            while self.kept:
                self.write_one(self.kept[0])

    def write_one(self, op: Close) -> None:
        """Of a batch with a doubled request id, or with what no row can hold: the rest is
        written."""
        try:
            self.commit([op], [])
            return
        except sqlite3.IntegrityError as reason:
            if reason.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
                self.rows = SqliteRows(self.connection)  # what is remembered is not what is stored
                self.commit([op], [])
                return
            error = self.refusal(op.record, reason)
        except NO_ROW as reason:
            error = self.refusal(op.record, reason)
        self.kept.remove(op)
        self.tell([op], error)

    def refusal(self, record: UsageRecord, reason: Exception) -> LedgerError:
        if getattr(reason, "sqlite_errorcode", None) == sqlite3.SQLITE_CONSTRAINT_UNIQUE:
            return DuplicateRecord(f"Request {record.record_id} already has a record.")
        log.critical("no row can hold this record (%s): %r", reason, record)
        return LedgerError(f"Request {record.record_id} cannot be recorded: {reason}.")

    def commit(self, closes: list[Close], opens: list[Open]) -> None:
        """All or nothing. What is on disk is kept no longer, and its waiters are told."""
        with self.rows.transaction():
            if closes:
                batch = self.rows.batch([op.record for op in closes])
                self.connection.execute(INSERT_RECORDS, (batch,))
            if opens:
                entries = b"[" + b",".join(op.payload for op in opens) + b"]"
                self.connection.execute(INSERT_OPEN, (entries.decode(),))
            if self.progress:
                self.connection.execute(REMEMBER, (self.progress,))
        self.progress, self.committed_at = None, time.time()
        if closes:
            self.trouble = None
            self.kept = self.kept[len(closes) :]
            self.tell(closes)

    def probe(self) -> None:
        """Whether the disk takes a write again, where nothing else is waiting to be written."""
        self.connection.execute(
            "INSERT INTO meta (name, value) VALUES ('probe', ?)"
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (str(time.time()),),
        )

    def fall_ill(self, error: Exception) -> None:
        """SQLite's own words name no file: the trouble is shown to clients."""
        if self.trouble is None:
            log.error("%s cannot be written, new work is refused: %s", self.path, error)
        reason = error if isinstance(error, sqlite3.Error) else "the server's log says why"
        self.trouble = f"The ledger cannot be written: {reason}."

    def give_up(self, opens: list[Open]) -> None:
        """Open requests are refused now; finished ones once their patience is over."""
        trouble = LedgerUnavailable(self.trouble)
        self.tell(opens, trouble)
        late_before = time.monotonic() - self.patience_s
        late = [op for op in self.kept if op.waiter and op.queued_at <= late_before]
        for op in late:
            if op.is_void_if_late:
                op.record.amount = 0
                op.record.end = "failed"
        self.tell(late, trouble)
        for op in late:
            op.waiter = None

    def answer(self, call: Query) -> None:
        """Fails with LedgerUnavailable while a record waits to be written."""
        try:
            if self.kept:
                raise LedgerUnavailable(self.trouble)
            call.result.set_result(call.work(self.connection))
        except Exception as error:
            call.result.set_exception(error)

    def tell(self, ops: Sequence[Open | Close], error: LedgerError | None = None) -> None:
        """Wake everybody who waits for `ops`: one call into the loop a batch."""
        waiters = [op.waiter for op in ops if op.waiter is not None]
        if waiters:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self.loop.call_soon_threadsafe(resolve, waiters, error)


def resolve(waiters: "list[asyncio.Future[None]]", error: LedgerError | None) -> None:
    for waiter in waiters:
        if waiter.done():
            continue
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)
            waiter.exception()  # marked as seen: a request that was cancelled never awaits it


def due_of(batch: Sequence[Op]) -> float:
    if len(batch) >= BATCH:
        return 0.0
    return min(0.0 if op is None else op.due_at for op in batch)
