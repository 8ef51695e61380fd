"""Entries of open requests, on their way to the writer.

An entry is what a crash would bill. A stream's is durable before its first byte. Nobody waits for
the others': one is written MOST_S after its request began, and never where that has ended.
"""

import asyncio
import time
from dataclasses import dataclass

from server.ledger.budget_accounts import Reservation
from server.ledger.gathering import MOST_S, Gathering
from server.ledger.money import amount_of
from server.ledger.progress import Reached
from server.ledger.records import UsageRecord
from server.ledger.sqlite_rows import encode_open
from server.ledger.write_ops import Open
from server.ledger.writer import Writer


@dataclass(slots=True)
class OpenRequest:
    """What the loop keeps of a request between begin and close."""

    durable: "asyncio.Future[None]"
    reservation: Reservation
    reached: Reached | None = None
    """How far it got, once it made a token."""


class OpenEntries:
    """Belongs to the event loop."""

    def __init__(self, writer: Writer, gathering: Gathering) -> None:
        self.writer = writer
        self.gathering = gathering
        self.later: dict[str, tuple[UsageRecord, asyncio.Future[None], float]] = {}
        """With when each is to be written, the first to be first."""
        self.flushing: asyncio.TimerHandle | None = None

    def add(self, record: UsageRecord, durable: "asyncio.Future[None]") -> None:
        """`durable` is done once it is."""
        if record.stream:
            self.submit(record, durable, self.gathering.entry_s())
            return
        loop = asyncio.get_running_loop()
        self.later[record.record_id] = record, durable, loop.time() + MOST_S
        if self.flushing is None:
            self.flushing = loop.call_later(MOST_S, self.flush_due)

    def drop(self, record_id: str) -> None:
        """Its request is over."""
        self.later.pop(record_id, None)

    def flush_due(self) -> None:
        self.flushing, loop = None, asyncio.get_running_loop()
        while self.later:
            record, durable, due_at = next(iter(self.later.values()))
            if due_at > loop.time():
                self.flushing = loop.call_at(due_at, self.flush_due)
                return
            del self.later[record.record_id]
            self.submit(record, durable, 0.0)

    def flush(self) -> None:
        """Have all written that were put off."""
        if self.flushing is not None:
            self.flushing.cancel()
        later, self.later, self.flushing = self.later, {}, None
        for record, durable, _ in later.values():
            self.submit(record, durable, 0.0)

    def hurry(self, record_id: str) -> None:
        """Somebody waits for this one."""
        if (put_off := self.later.pop(record_id, None)) is not None:
            self.submit(put_off[0], put_off[1], 0.0)

    def submit(self, record: UsageRecord, durable: "asyncio.Future[None]", wait_s: float) -> None:
        record.amount = amount_of(record)
        due_at = time.monotonic() + wait_s
        self.writer.submit(Open(record.record_id, encode_open(record), durable, due_at))
