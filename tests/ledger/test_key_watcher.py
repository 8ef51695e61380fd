"""A change of the keys is seen, also where the file could not be read at first."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Collection, Set
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from server.ledger import sqlite
from server.ledger.database import SqliteDatabase
from server.ledger.key_changes import KEPT, MOST, NOTED, changed_since
from server.ledger.key_store import KeyStore
from server.ledger.key_watcher import KeyWatcher
from server.ledger.keys import Key
from server.ledger.keys_in_use import Left, Take
from server.ledger.member_store import MemberStore
from server.ledger.owner_store import OwnerStore
from server.ledger.site_store import SiteStore
from server.ledger.tenants import MemberLevel, OwnerLevel

pytestmark = pytest.mark.anyio


class SickOnce(KeyStore):
    """Its list cannot be read once."""

    is_sick = True

    def list(self) -> list[Key]:
        if self.is_sick:
            self.is_sick = False
            raise sqlite3.OperationalError("disk I/O error")
        return super().list()


class Taken:
    """Notes what it is told of the keys."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[tuple[str, list[str], set[str]]] = asyncio.Queue()

    def prepared(self, keys: list[Key]) -> Take:
        def take() -> Left:
            self.told.put_nowait(("all", sorted(key.name for key in keys), set()))
            return ({1: 1},)

        return take

    def change(self, keys: Collection[Key], gone: Set[str]) -> None:
        self.told.put_nowait(("some", sorted(key.name for key in keys), set(gone)))

    async def next(self) -> tuple[str, list[str], set[str]]:
        return await asyncio.wait_for(self.told.get(), 10)


class Watch:
    def __init__(self, folder: Path) -> None:
        self.taken = Taken()
        path = sqlite.prepared_ledger(folder)
        self.watcher = KeyWatcher(path, asyncio.get_running_loop(), self.taken)
        self.books = SqliteDatabase(path)
        self.keys = KeyStore(self.books)

    def new(self, name: str, **fields: Any) -> Key:
        return self.keys.create(Key(key_id="", name=name, owner="o", **fields))[0]


@pytest.fixture
async def watch(tmp_path: Path) -> AsyncIterator[Watch]:
    watch = Watch(tmp_path)
    watch.new("before")
    watch.watcher.load()()
    assert await watch.taken.next() == ("all", ["before"], set())
    yield watch
    await asyncio.to_thread(watch.watcher.stop)
    watch.books.close()


async def test_a_change_that_could_not_be_read_is_read_again(watch: Watch) -> None:
    """Else a revoked key would be good until the next change of any."""
    watch.watcher.seen, watch.watcher.store = -1, SickOnce(watch.watcher.database)
    watch.new("n")
    watch.watcher.start()
    assert await watch.taken.next() == ("all", ["before", "n"], set())


async def test_of_a_change_that_alone_is_read_what_changed(watch: Watch) -> None:
    watch.watcher.start()
    new = watch.new("n")
    assert await watch.taken.next() == ("some", ["n"], set())
    watch.keys.revoke(new.key_id)
    assert await watch.taken.next() == ("some", ["n"], set())
    watch.keys.delete([new.key_id])
    assert await watch.taken.next() == ("some", [], {new.key_id})


async def test_a_level_that_changes_is_told_as_its_keys(watch: Watch) -> None:
    OwnerStore(watch.books).create(OwnerLevel(owner_id="", name="other"))
    member = MemberStore(watch.books).create(MemberLevel(member_id="", owner="o", name="ada"))
    watch.new("hers", member_id=member.member_id)
    watch.keys.create(Key(key_id="", name="others", owner="other"))
    watch.watcher.load()()
    await watch.taken.next()
    watch.watcher.start()
    now = time.time()
    MemberStore(watch.books).update("ada", lambda one: replace(one, disabled_at=now))
    assert await watch.taken.next() == ("some", ["hers"], set())
    OwnerStore(watch.books).update("o", lambda one: replace(one, archived_at=now))
    assert await watch.taken.next() == ("some", ["before", "hers"], set())
    SiteStore(watch.books).update(lambda site: replace(site, currency="EUR"))
    assert await watch.taken.next() == ("all", ["before", "hers", "others"], set())


@pytest.mark.parametrize("by", [-1, MOST + 1])
async def test_what_nobody_noted_is_read_whole(watch: Watch, by: int) -> None:
    """A version that goes back, or one whose changes are too many."""
    with watch.books.writing("keys"):
        for number in range(by):
            row = (f"k{number}", "many", "m", f"{number}".encode())
            watch.books.execute(
                "INSERT INTO keys (key_id, name, owner, service, secret_hash, created_at)"
                " VALUES (?, ?, ?, 'llm', ?, 0)",
                row,
            )
        if by < 0:
            watch.books.execute("UPDATE meta SET value = '1' WHERE name = 'keys_version'")
    watch.watcher.start()
    kind, names, _ = await watch.taken.next()
    assert (kind, len(names)) == ("all", max(0, by) + 1)


def test_of_versions_long_gone_nothing_is_kept(tmp_path: Path) -> None:
    with closing(SqliteDatabase(sqlite.prepared_ledger(tmp_path))) as books:
        store = KeyStore(books)
        key, _ = store.create(Key(key_id="", name="n", owner="o"))
        seen = store.version()
        with books.writing("keys"):
            for _ in range(KEPT + 5):
                books.execute("UPDATE keys SET name = name")
        rows = books.query("SELECT count(*), max(version) - min(version) FROM key_changes")
        assert rows == [(KEPT, KEPT - 1)]
        assert changed_since(books, seen) is None
        found = changed_since(books, store.version() - KEPT)
        assert found is not None
        assert [one.key_id for one in found.keys] == [key.key_id]


def test_what_is_forgotten_between_two_reads_is_not_passed_over(tmp_path: Path) -> None:
    """A revocation among thousands of changes: others come while they are read."""
    path = sqlite.prepared_ledger(tmp_path)
    with closing(SqliteDatabase(path)) as books, closing(Interrupted(path)) as reader:
        store = KeyStore(books)
        victim, _ = store.create(Key(key_id="", name="victim", owner="o"))
        seen = store.version()
        store.revoke(victim.key_id)
        with books.writing("keys"):
            books.execute(LATER, (KEPT - 1000,))
        reader.between = lambda: many_more(books)
        assert changed_since(reader, seen) is None


LATER = """UPDATE meta SET value = CAST(CAST(value AS BIGINT) + ? AS TEXT)
WHERE name = 'keys_version'"""


def many_more(books: SqliteDatabase) -> None:
    with books.writing("keys"):
        books.execute(LATER, (1500,))
        books.execute("UPDATE keys SET name = name")


class Interrupted(SqliteDatabase):
    """`between` happens once, before what changed is read."""

    between: Callable[[], None] | None = None

    def query(self, sql: str, parameters: Any = ()) -> Any:
        if sql == NOTED and self.between is not None:
            self.between()
            self.between = None
        return super().query(sql, parameters)
