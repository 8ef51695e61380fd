"""Notices a change of the keys, by whatever process, and hands the new ones to the loop."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import TypeAlias

from server.ledger.database import SqliteDatabase
from server.ledger.key_store import KeyStore
from server.ledger.keys import Key

POLL_S = 0.05
"""The next line of a script uses the key that this one made. A poll reads one row, 15 µs."""

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
        while not self.is_stopped.wait(POLL_S):
            try:
                if self.store.version() != self.seen:
                    self.loop.call_soon_threadsafe(take, self.load())
            except sqlite3.Error:
                continue  # a locked or sick file: the keys last read stay in force
            except RuntimeError:
                return  # the loop is closed

    def stop(self) -> None:
        self.is_stopped.set()
        if self.thread is not None:
            self.thread.join()
        self.database.close()
