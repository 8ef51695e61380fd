"""The ledger as a server sees it: begin a request, close its record, know the keys.

    ledger = Ledger.open(data_dir, node="gpu-1", currency="NOK", ledger_url=None)
    # open closes what a crash left open as `lost`
    await ledger.start(on_keys=ring.replace)
    await ledger.begin(record, reserve_micro=..., reserve_tokens=...)    # never waits for the disk
    await ledger.opened(record)                  # before the first byte: the open entry is durable
    ledger.progress(record)                      # now and then: what a crash would bill
    await ledger.close_record(record)            # before [DONE] or a whole body: it is durable
    ledger.health()                              # None, or why new work is refused
    await ledger.stop()

All methods belong to the loop of `start`. `begin` raises BudgetExceeded and LedgerUnavailable,
`opened` and `close_record` raise LedgerUnavailable and DuplicateRecord. The ledger computes
`record.amount` from the record's own prices. A record that was never begun (rejected before any
token) may be closed too.
"""

import asyncio
import sqlite3
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from server.ledger import sqlite
from server.ledger.budgets import BudgetAccount, Budgets, Reservation
from server.ledger.database import Database
from server.ledger.errors import DuplicateRecord, LedgerUnavailable
from server.ledger.key_watcher import KeyWatcher, TakeKeys
from server.ledger.keys import Key
from server.ledger.money import amount_of
from server.ledger.open_books import open_books
from server.ledger.records import UsageRecord
from server.ledger.recovery import close_lost
from server.ledger.replication import SiteReplication
from server.ledger.spending import spent
from server.ledger.sqlite_rows import encode_open
from server.ledger.writer import Close, Open, Writer


def ignore_keys(keys: list[Key]) -> None:
    """A ledger without a key ring."""


@dataclass(slots=True)
class OpenRequest:
    """What the loop keeps of a request between begin and close."""

    durable: "asyncio.Future[None]"
    reservation: Reservation | None


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
        self.writer = Writer(path, lambda: len(self.open_requests))
        self.watch: KeyWatcher | None = None
        self.site: SiteReplication | None = None
        self.node = node
        self.currency = currency
        self.lock = sqlite.ServingLock(data_dir)
        self.budgets = Budgets(currency)
        self.open_requests: dict[str, OpenRequest] = {}
        self.loading: set[asyncio.Future[int]] = set()
        """Accounts whose earlier spending is being read."""
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
        millisecond where there is nothing to do). Raises LedgerUnavailable where the file cannot
        be used or the disk is full, and LedgerInUse where another server holds the directory. The
        site at `ledger_url` is not waited for; without it the node serves on what it knows, for
        `stale_s` seconds."""
        path = sqlite.prepared_ledger(data_dir)
        ledger = cls(
            data_dir, path, node=node, currency=currency, ledger_url=ledger_url, stale_s=stale_s
        )
        ledger.lock.take()
        try:
            ledger.lost_count = close_lost(path)
        except sqlite3.Error as error:
            ledger.lock.release()
            raise sqlite.unavailable(path, error) from error
        return ledger

    async def start(self, on_keys: TakeKeys = ignore_keys) -> None:
        """Load the keys, begin to write."""
        self.writer.start(asyncio.get_running_loop())
        self.watch = KeyWatcher(self.path, asyncio.get_running_loop())
        keys = await asyncio.to_thread(self.watch.load)
        self.on_keys = on_keys
        self.take_keys(keys)
        await asyncio.gather(*self.loading)
        self.watch.start(self.take_keys)
        if self.ledger_url is not None:
            self.site = SiteReplication(self.path, self.ledger_url, self.stale_s, self.budgets)
            self.site.start(asyncio.get_running_loop())

    async def stop(self) -> None:
        """Write what waits, end the threads, free the directory. Idempotent, also when the start
        failed or never was."""
        if self.lock.fd is None:
            return
        if self.watch is not None:
            await asyncio.to_thread(self.watch.stop)
        await asyncio.to_thread(self.writer.stop)
        if self.site is not None:
            await asyncio.to_thread(self.site.stop)
        self.lock.release()

    def open_books(self) -> Database:
        """Keys and usage for one reader or writer on any thread: the site's, or the node's own.
        Blocks. Raises LedgerUnavailable."""
        return open_books(self.data_dir, self.ledger_url)

    def take_keys(self, keys: list[Key]) -> None:
        self.budgets.replace(keys, time.time(), self.load_account)
        self.on_keys(keys)

    def load_account(self, account: BudgetAccount) -> None:
        """Add what was spent before. Asked behind everything queued, so nothing counts twice:
        what is closed from now on is added by `spend`, what came before by this answer."""
        result = asyncio.wrap_future(self.writer.call(lambda c: spent(c, account)))
        self.loading.add(result)
        result.add_done_callback(self.loading.discard)
        result.add_done_callback(lambda done: add_spent(account, done))

    def health(self) -> str | None:
        """None while records can be written; else why new work is refused."""
        return self.writer.trouble or (self.site.health() if self.site else None)

    async def begin(
        self, record: UsageRecord, *, reserve_micro: int = 0, reserve_tokens: int = 0
    ) -> None:
        """Open an entry for a request that is about to generate, reserving the most it can use."""
        if trouble := self.health():
            raise LedgerUnavailable(trouble)
        if record.record_id in self.open_requests:
            raise DuplicateRecord(f"Request {record.record_id} is open already.")
        reservation = self.budgets.reserve(record, reserve_micro, reserve_tokens)
        durable = asyncio.get_running_loop().create_future()
        self.open_requests[record.record_id] = OpenRequest(durable, reservation)
        self.writer.submit(Open(record.record_id, self.encoded(record), durable))

    async def opened(self, record: UsageRecord) -> None:
        """Return once the open entry is durable: a crash from now on leaves a `lost` record."""
        durable = self.open_requests[record.record_id].durable
        if not durable.done():
            self.writer.hurry()
        await asyncio.shield(durable)

    def progress(self, record: UsageRecord) -> None:
        """Note how far an open request got; not waited for. Once a second a stream is plenty."""
        if record.record_id in self.open_requests:
            self.writer.submit(Open(record.record_id, self.encoded(record)))

    def close_record(
        self, record: UsageRecord, *, is_delivered: bool = True
    ) -> "asyncio.Future[None]":
        """Done once the record is durable. `is_delivered=False`: the answer waits for this, so if
        it ends with LedgerUnavailable the record will be written as failed, at no charge."""
        record.amount = amount_of(record)
        self.settle(record)
        waiter = asyncio.get_running_loop().create_future()
        waiter.add_done_callback(partial(self.refund, record, record.amount))
        self.writer.submit(Close(record, waiter, not is_delivered))
        return waiter

    def refund(self, record: UsageRecord, charged: int, closed: "asyncio.Future[None]") -> None:
        """What is not charged in the end may be spent again."""
        if not closed.cancelled() and isinstance(closed.exception(), LedgerUnavailable):
            self.budgets.refund(record, charged - record.amount)

    def settle(self, record: UsageRecord) -> None:
        """Turn the reservation into spending, in one step of the loop."""
        request = self.open_requests.pop(record.record_id, None)
        if request is not None and request.reservation is not None:
            request.reservation.release()
        self.budgets.spend(record)

    def encoded(self, record: UsageRecord) -> bytes:
        record.amount = amount_of(record)
        return encode_open(record)


def add_spent(account: BudgetAccount, done: "asyncio.Future[int]") -> None:
    if not done.cancelled() and done.exception() is None:
        account.spent += done.result()
