"""Notices a change of the keys, by whatever process, and hands the new ones to the loop."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import TypeAlias

from server.ledger.database import SqliteDatabase
from server.ledger.key_store import KeyStore
from server.ledger.keys import Key

POLL_S = 0.05
"""The next line of a script uses the key that this one made. A poll reads one row, 15 µs."""
RELOAD_SHARE = 10.0
"""To read many keys again and again would keep the interpreter: 80 ms for 10,000 of them."""

TakeKeys: TypeAlias = Callable[[list[Key]], None]


class KeyWatcher:
    """A thread that asks for `keys_version` and reads the table when it moved."""

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.database = SqliteDatabase(path)
        self.store = KeyStore(self.database)
        self.seen = -1
        self.is_stopped = Event()
        self.thread: Thread | None = None

    def load(self) -> list[Key]:
        """The keys, at least as new as the version that is remembered."""
        version = self.store.version()
        keys = self.store.list()
        self.seen = version  # not before they were read: a read that fails is tried again
        return keys

    def start(self, take: TakeKeys) -> None:
        self.thread = Thread(target=self.run, args=(take,), name="ledger-keys", daemon=True)
        self.thread.start()

    def run(self, take: TakeKeys) -> None:
        pause_s = POLL_S
        while not self.is_stopped.wait(pause_s):
            pause_s = POLL_S
            try:
                if self.store.version() != self.seen:
                    began_s = time.thread_time()
                    self.loop.call_soon_threadsafe(take, self.load())
                    pause_s = max(POLL_S, RELOAD_SHARE * (time.thread_time() - began_s))
            except sqlite3.Error:
                continue  # a locked or sick file: the keys last read stay in force
            except RuntimeError:
                return  # the loop is closed

    def stop(self) -> None:
        self.is_stopped.set()
        if self.thread is not None:
            self.thread.join()
        self.database.close()
