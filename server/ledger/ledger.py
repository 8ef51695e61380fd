"""The ledger as a server sees it: begin a request, close its record, know the keys.

    ledger = Ledger.open(data_dir, node="gpu-1", currency="NOK", ledger_url=None)
    await ledger.start(ring)         # who wants to know the keys
    await ledger.begin(record, reserve_micro=..., reserve_tokens=...)    # never waits for the disk
    await ledger.opened(record)                  # before the first byte: the open entry is durable
    ledger.progress(record)                      # now and then: what a crash would bill
    await ledger.close_record(record)            # before [DONE] or a whole body: it is durable
    ledger.health()                              # None, or why new work is refused
    await ledger.stop()

All methods belong to the loop of `start`. `begin` raises BudgetExceeded and LedgerUnavailable,
`opened` and `close_record` raise LedgerUnavailable and DuplicateRecord. The ledger computes
`record.amount` from the record's own prices and end. A record that was never begun (rejected before
any token) may be closed too.
"""

import asyncio
import logging
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

from server.ledger import sqlite
from server.ledger.budget_accounts import (
    BudgetAccount,
    Charge,
    correct_charges,
)
from server.ledger.budgets import Budgets
from server.ledger.database import Database, SqliteDatabase
from server.ledger.day_summing import DaySumming
from server.ledger.errors import DuplicateRecord, LedgerError, LedgerUnavailable
from server.ledger.gathering import MOST_S, Gathering
from server.ledger.key_watcher import KeyWatcher
from server.ledger.keys_in_use import KeysInUse, Unused, WithBudgets
from server.ledger.meta import KEYS_OF_SITE, forget
from server.ledger.money import charge_of
from server.ledger.open_books import open_books, site_pool
from server.ledger.open_entries import OpenEntries, OpenRequest
from server.ledger.progress import encode_progress, reached_by
from server.ledger.records import UsageRecord, bound_words
from server.ledger.recovery import close_lost
from server.ledger.replication import SiteReplication
from server.ledger.serving_lock import ServingLock
from server.ledger.spending import spent
from server.ledger.write_ops import Close, Progress
from server.ledger.writer import Writer

log = logging.getLogger("fjord.ledger")

READ_S = 2.0
"""A request waits so long for what its key has spent, ..."""
READ_AGAIN_S = 0.5
"""... and it is asked for again so long after it could not be read."""


class Ledger:
    """One per server process. Build it with `Ledger.open`."""

    def __init__(
        self,
        data_dir: Path,
        path: Path,
        *,
        node: str,
        currency: str,
        ledger_url: str | None,
        stale_s: float,
    ) -> None:
        self.data_dir = data_dir
        self.path = path
        self.ledger_url = ledger_url
        self.stale_s = stale_s
        self.writer = Writer(path)
        self.gathering = Gathering()
        self.entries = OpenEntries(self.writer, self.gathering)
        self.watch: KeyWatcher | None = None
        self.day_summing = DaySumming(path)
        self.site: SiteReplication | None = None
        self.node = node
        self.currency = currency
        self.pool = None if ledger_url is None else site_pool(ledger_url)
        self.lock = ServingLock(data_dir)
        self.budgets = Budgets(currency, self.read_account)
        self.open_requests: dict[str, OpenRequest] = {}
        self.noting: asyncio.Handle | None = None
        self.noted_at = self.notes_at = 0.0
        """When the first of what is noted was; and when it is taken down, of the loop's time."""
        """Will write what `progress` was told."""
        self.readings: dict[BudgetAccount, asyncio.Future[int]] = {}
        """What accounts have spent so far, while it is being read."""
        self.lost_count = 0
        """Requests that the last crash left open, closed by `open`."""

    @classmethod
    def open(
        cls,
        data_dir: Path,
        *,
        node: str,
        currency: str = "NOK",
        ledger_url: str | None = None,
        stale_s: float = 86_400.0,
    ) -> "Ledger":
        """Make or migrate the ledger file, and close what a crash left open. Blocks (under a
        millisecond where there is nothing to do). Raises LedgerError where `ledger_url` is not
        understood, LedgerUnavailable where the file cannot be used or the disk is full, and
        LedgerInUse where another server holds the directory. The site at `ledger_url` is not
        waited for; without it the node serves on what it knows, for `stale_s` seconds."""
        path = sqlite.prepared_ledger(data_dir)
        ledger = cls(
            data_dir, path, node=node, currency=currency, ledger_url=ledger_url, stale_s=stale_s
        )
        ledger.lock.take()
        try:
            ledger.lost_count = close_lost(path)
            if ledger_url is None:
                with closing(SqliteDatabase(path)) as database:
                    forget(database, KEYS_OF_SITE)
        except sqlite3.Error as error:
            ledger.lock.release()
            raise sqlite.unavailable(path, error) from error
        return ledger

    async def start(self, keys: KeysInUse | None = None) -> None:
        """Load the keys, begin to write."""
        loop = asyncio.get_running_loop()
        self.writer.start(loop)
        self.watch = KeyWatcher(self.path, loop, WithBudgets(self.budgets, keys or Unused()))
        take = await asyncio.to_thread(self.watch.load)
        take()
        if self.readings:
            await asyncio.wait(self.readings.values(), timeout=READ_S)
        self.watch.start()
        self.day_summing.start()
        if self.ledger_url is not None:
            self.site = SiteReplication(self.path, self.ledger_url, self.stale_s, self.budgets)
            self.site.start(asyncio.get_running_loop())

    async def stop(self) -> None:
        """Write what waits, end the threads, free the directory. Idempotent, also when the start
        failed or never was."""
        if not self.lock.is_held:
            return
        if self.watch is not None:
            await asyncio.to_thread(self.watch.stop)
        await asyncio.to_thread(self.day_summing.stop)
        self.entries.flush()
        if self.noting is not None:
            self.noting.cancel()
            self.write_progress()
        await asyncio.to_thread(self.writer.stop)
        if self.site is not None:
            await asyncio.to_thread(self.site.stop)
        if self.pool is not None:
            await asyncio.to_thread(self.pool.close)
        self.lock.release()

    def open_books(self) -> Database:
        """Keys and usage for one reader or writer on any thread: the site's, or the node's own.
        Blocks. Raises LedgerUnavailable, in words that name no host and no path."""
        try:
            return self.pool.open_books() if self.pool else open_books(self.data_dir, None)
        except LedgerError as error:
            log.warning("keys and usage cannot be reached: %s", error)
            raise LedgerUnavailable(
                "The keys and usage records cannot be reached; the server's log says why."
            ) from None

    def read_account(self, account: BudgetAccount) -> None:
        """Asked behind everything queued, so nothing counts twice."""
        answer = asyncio.wrap_future(self.writer.call(partial(spent, account=replace(account))))
        self.readings[account] = answer
        answer.add_done_callback(partial(self.take_reading, account, account.reading))

    def take_reading(
        self, account: BudgetAccount, reading: int, answer: "asyncio.Future[int]"
    ) -> None:
        if self.readings.get(account) is answer:
            del self.readings[account]
        if answer.cancelled():
            return
        if (error := answer.exception()) is None:
            account.learned(reading, answer.result())
            return
        log.warning("what %s has spent cannot be read: %s", account.level_id, error)
        asyncio.get_running_loop().call_later(READ_AGAIN_S, self.read_again, account, reading)

    def read_again(self, account: BudgetAccount, reading: int) -> None:
        is_current = self.budgets.accounts.get(account.level_id) is account
        if is_current and account.reading == reading:
            self.budgets.read_anew(account)

    async def check_budget(self, key_id: str, currency: str) -> None:
        """Whether the key and all above it have room for one more request, before anything is done
        for it. Raises BudgetExceeded, LedgerUnavailable."""
        await self.budget_read(key_id)
        self.budgets.check(key_id, currency)

    async def budget_read(self, key_id: str, owner: str | None = None) -> None:
        """Wait, not for long, for what its levels have spent where that is being read: a budget or
        a period is new. `owner` None: the key's."""
        accounts = self.budgets.current(key_id, owner)
        if not self.readings:
            return
        if waited := [self.readings[a] for a in accounts if a in self.readings]:
            self.writer.hurry()
            await asyncio.wait(waited, timeout=READ_S)

    def health(self) -> str | None:
        """None while records can be written; else why new work is refused."""
        return self.writer.trouble or (self.site.health() if self.site else None)

    def notes(self) -> dict[str, str]:
        """What somebody should look after though work goes on, part -> words."""
        if self.site is None or not self.site.set_aside:
            return {}
        return {"ledger": f"{self.site.set_aside} records set aside: `fjord ship --retry`"}

    async def begin(
        self, record: UsageRecord, *, reserve_micro: int = 0, reserve_tokens: int = 0
    ) -> None:
        """Open an entry for a request that is about to generate, reserving the most it can use."""
        durable = await self.reserve(record, reserve_micro, reserve_tokens)
        self.entries.add(record, durable)

    async def reserve(
        self, record: UsageRecord, reserve_micro: int, reserve_tokens: int
    ) -> "asyncio.Future[None]":
        """As `begin`, without an entry on the disk: for what is asked again after a crash."""
        if trouble := self.health():
            raise LedgerUnavailable(trouble)
        bound_words(record)
        await self.budget_read(record.key_id, record.owner)
        if record.record_id in self.open_requests:
            raise DuplicateRecord(f"Request {record.record_id} is open already.")
        reservation = self.budgets.reserve(record, reserve_micro, reserve_tokens)
        durable = asyncio.get_running_loop().create_future()
        self.open_requests[record.record_id] = OpenRequest(durable, reservation)
        return durable

    def abandon(self, record: UsageRecord) -> None:
        """Give back what `reserve` has reserved: it leaves no record. Idempotent."""
        if (request := self.open_requests.pop(record.record_id, None)) is not None:
            self.budgets.release(request.reservation)
            self.entries.drop(record.record_id)

    async def opened(self, record: UsageRecord) -> None:
        """Return once the open entry is durable: a crash from now on leaves a `lost` record."""
        durable = self.open_requests[record.record_id].durable
        if not durable.done():
            self.entries.hurry(record.record_id)
            self.writer.hurry()
        await asyncio.shield(durable)

    def progress(self, record: UsageRecord) -> None:
        """Note how far an open request got; not waited for. Written together with all that is
        noted in the same step of the loop, and in all the steps of the next MOST_S."""
        if (request := self.open_requests.get(record.record_id)) is None:
            return
        request.reached = reached_by(record)
        if self.noting is None:
            loop, self.noted_at = asyncio.get_running_loop(), time.monotonic()
            self.noting = loop.call_at(self.notes_at, self.write_progress)

    def write_progress(self) -> None:
        self.noting = None
        self.notes_at = asyncio.get_running_loop().time() + MOST_S
        running = self.open_requests.items()
        reached = ((id_, request.reached) for id_, request in running if request.reached)
        self.writer.submit(Progress(encode_progress(reached), self.noted_at + MOST_S))

    def close_record(
        self, record: UsageRecord, *, is_delivered: bool = True
    ) -> "asyncio.Future[None]":
        """Done once the record is durable. `is_delivered=False`: nothing of the answer went out,
        and it waits for this, so if it ends with LedgerUnavailable the record will be written as
        failed, at no charge. Of a whole answer nothing can have gone out."""
        bound_words(record)
        record.amount = charge_of(record, is_delivered=is_delivered and record.stream)
        charges = self.settle(record)
        waiter = asyncio.get_running_loop().create_future()
        if charges:
            waiter.add_done_callback(partial(correct_charges, record, charges))
        now = time.monotonic()
        due_at = now + self.gathering.end_s(record.duration_s)
        self.writer.submit(Close(record, waiter, not is_delivered, now, due_at))
        return waiter

    def settle(self, record: UsageRecord) -> list[Charge]:
        """Turn the reservation into spending, in one step of the loop."""
        self.abandon(record)
        return self.budgets.spend(record)
