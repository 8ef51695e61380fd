"""What is queued for the ledger's writer. `due_at`: time.monotonic() until which it may wait for
companions of its commit."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

from server.ledger.records import UsageRecord

Waiter: TypeAlias = "asyncio.Future[None] | None"


@dataclass(slots=True)
class Open:
    """An open request's entry; dropped when it cannot be written."""

    record_id: str
    payload: bytes
    waiter: Waiter = None
    due_at: float = 0.0


@dataclass(slots=True)
class Progress:
    """How far all open requests got (`server.ledger.progress`); nobody waits for it."""

    text: str
    due_at: float = 0.0


@dataclass(slots=True)
class Close:
    """A finished record; kept until it is written."""

    record: UsageRecord
    waiter: Waiter = None
    is_void_if_late: bool = False
    """Its answer is held back until it is written: late means not delivered, so not billed."""
    queued_at: float = field(default_factory=time.monotonic)
    due_at: float = 0.0


@dataclass(slots=True)
class Query:
    """Anything else that must see what was queued before it, and nothing of what came after."""

    work: Callable[[sqlite3.Connection], Any]
    result: Future[Any]
    due_at: ClassVar[float] = 0.0


Op: TypeAlias = "Open | Progress | Close | Query | None"
