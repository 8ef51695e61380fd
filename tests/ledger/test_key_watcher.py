"""A change of the keys is seen, also where the file could not be read at first."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from server.ledger import sqlite
from server.ledger.key_store import KeyStore
from server.ledger.key_watcher import KeyWatcher
from server.ledger.keys import Key

pytestmark = pytest.mark.anyio


class SickOnce(KeyStore):
    """Its list cannot be read once."""

    is_sick = True

    def list(self) -> list[Key]:
        if self.is_sick:
            self.is_sick = False
            raise sqlite3.OperationalError("disk I/O error")
        return super().list()


async def test_a_change_that_could_not_be_read_is_read_again(tmp_path: Path) -> None:
    """Else a revoked key would be good until the next change of any."""
    watcher = KeyWatcher(sqlite.prepared_ledger(tmp_path), asyncio.get_running_loop())
    watcher.load()
    watcher.store = SickOnce(watcher.database)
    seen: asyncio.Queue[list[Key]] = asyncio.Queue()
    KeyStore(watcher.database).create(Key(key_id="", name="n", owner="o"))
    watcher.start(seen.put_nowait)
    try:
        assert [key.name for key in await asyncio.wait_for(seen.get(), 10)] == ["n"]
    finally:
        await asyncio.to_thread(watcher.stop)
