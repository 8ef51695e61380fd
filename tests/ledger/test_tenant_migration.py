"""Each owner that a ledger's keys or records name is one after a start, whatever schema it had."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from benchmarks.old_ledgers import RELEASED, make_postgresql, make_sqlite
from server.ledger import postgres, sqlite
from server.ledger.database import Database, SqliteDatabase
from server.ledger.key_store import KeyStore
from server.ledger.owner_store import OwnerStore
from server.ledger.records import KeyLimits
from server.ledger.site_store import SiteStore
from server.ledger.tenants import SiteLevel
from tests.support.sites import postgres_server

OLD = [schema for schema in RELEASED if schema < "0006"]
KEY = (
    "INSERT INTO keys (key_id, name, owner, service, secret_hash, created_at, burst)"
    " VALUES ('k1', 'web', 'of a key', 'llm', {blob}, 1700000000.0, 7)"
)


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with postgres_server() as running:
        yield running


def check(books: Database) -> None:
    """Of a ledger with one key, and records of fifty owners."""
    owners = OwnerStore(books).list()
    names = {"of a key", *(f"owner-{number}" for number in range(50))}
    assert {owner.name for owner in owners} == names
    assert len({owner.owner_id for owner in owners}) == len(owners)
    assert {owner.limits for owner in owners} == {KeyLimits()}
    assert {owner.weight for owner in owners} == {1}
    [key] = KeyStore(books).list()
    assert (key.owner, key.member_id, key.limits.burst) == ("of a key", None, 7)
    assert [each.title for each in key.above.levels] == ["The owner of a key", "This site"]
    assert SiteStore(books).get() == SiteLevel()
    assert OwnerStore(books).get("of a key").created_at == 1_700_000_000.0


@pytest.mark.parametrize("old", OLD)
def test_of_a_node(tmp_path: Path, old: str) -> None:
    ledger = tmp_path / sqlite.FILE_NAME
    make_sqlite(ledger, old, 3_000)
    with closing(sqlite3.connect(ledger)) as connection:
        connection.execute(KEY.format(blob="x'01'"))
        connection.execute("UPDATE kinds SET owner = '(lost)' WHERE id = 1")  # see 0003
        connection.commit()
    with closing(SqliteDatabase(sqlite.prepared_ledger(tmp_path))) as books:
        check(books)


@pytest.mark.parametrize("old", OLD)
def test_of_a_site(server: Any, old: str) -> None:
    name = f"tenants_{time.time_ns()}"
    with closing(postgres.connect(server.get_uri())) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    url = server.get_uri(database=name)
    with closing(postgres.connect(url)) as connection:
        make_postgresql(connection, old, 3_000)
        connection.execute(KEY.format(blob="'\\x01'").encode())
    with closing(postgres.open_database(url)) as books:
        check(books)
