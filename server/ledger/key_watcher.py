"""Notices a change of the keys, by whatever process, and hands what changed to the loop."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from threading import Event, Thread

from engines.host.garbage import made_to_stay
from engines.host.interpreter_turns import beside, give_way
from server.ledger.database import SqliteDatabase
from server.ledger.key_changes import changed_since
from server.ledger.key_store import KeyStore
from server.ledger.keys_in_use import KeysInUse, Left, Take

POLL_S = 0.05
"""The next line of a script uses the key that this one made. A poll reads one row, 15 µs."""
RELOAD_SHARE = 10.0
"""To read many keys again and again would keep a core: 1.5 s for 100,000 of them."""
MANY = 5000
"""Keys that no collection of garbage should walk, and not while they are made."""


class KeyWatcher:
    """A thread that asks for `keys_version`, and reads what changed when it moved."""

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop, keys: KeysInUse) -> None:
        self.loop = loop
        self.keys = keys
        self.database = SqliteDatabase(path)
        self.store = KeyStore(self.database)
        self.seen = -1
        self.reloads_at = 0.0
        """Not before this all keys are read again; single ones are at once."""
        self.is_stopped = Event()
        self.thread: Thread | None = None

    def load(self) -> Take:
        """What has the keys count that there are now, at least as new as the version that is
        remembered. Raises sqlite3.Error."""
        version = self.store.version()
        with made_to_stay() if self.store.count() >= MANY else nullcontext():
            take = self.keys.prepared(self.store.list())
        self.seen = version  # not before they were read: a read that fails is tried again
        return take

    def start(self) -> None:
        self.thread = Thread(target=self.run, name="ledger-keys", daemon=True)
        self.thread.start()

    def run(self) -> None:
        while not self.is_stopped.wait(POLL_S):
            try:
                if self.store.version() != self.seen:
                    self.hand_over()
            except sqlite3.Error:
                continue  # a locked or sick file: the keys last read stay in force
            except RuntimeError:
                return  # the loop is closed

    def hand_over(self) -> None:
        changes = changed_since(self.database, self.seen)
        if changes is None:
            if time.monotonic() >= self.reloads_at:
                self.reload()
            return
        self.on_loop(lambda: self.keys.change(changes.keys, changes.gone))
        self.seen = changes.version

    def reload(self) -> None:
        began_s = time.thread_time()
        with beside(self.loop):
            let_go(self.on_loop(self.load()))
        pause_s = RELOAD_SHARE * (time.thread_time() - began_s)
        self.reloads_at = time.monotonic() + pause_s

    def on_loop(self, take: Callable[[], Left | None]) -> Left:
        """What it returned there; nothing where the watch was stopped first."""
        done, left = Event(), list[Left | None]()

        def call() -> None:
            try:
                left.append(take())
            finally:
                done.set()

        self.loop.call_soon_threadsafe(call)
        while not (done.wait(POLL_S) or self.is_stopped.is_set()):
            pass
        return (left and left[0]) or ()

    def stop(self) -> None:
        self.is_stopped.set()
        if self.thread is not None:
            self.thread.join()
        self.database.close()


def let_go(left: Left) -> None:
    for each in left:
        while each:
            give_way()
            each.popitem()
