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
        self.later: dict[str, tuple[UsageRecord, asyncio.Future[None]]] = {}
        self.flushing: asyncio.TimerHandle | None = None

    def add(self, record: UsageRecord, durable: "asyncio.Future[None]") -> None:
        """`durable` is done once it is."""
        if record.stream:
            self.submit(record, durable, self.gathering.entry_s())
            return
        self.later[record.record_id] = record, durable
        if self.flushing is None:
            self.flushing = asyncio.get_running_loop().call_later(MOST_S, self.flush)

    def drop(self, record_id: str) -> None:
        """Its request is over."""
        self.later.pop(record_id, None)

    def flush(self) -> None:
        """Have all written that were put off."""
        if self.flushing is not None:
            self.flushing.cancel()
        later, self.later, self.flushing = self.later, {}, None
        for record, durable in later.values():
            self.submit(record, durable, 0.0)

    def submit(self, record: UsageRecord, durable: "asyncio.Future[None]", wait_s: float) -> None:
        record.amount = amount_of(record)
        due_at = time.monotonic() + wait_s
        self.writer.submit(Open(record.record_id, encode_open(record), durable, due_at))
