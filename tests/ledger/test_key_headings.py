"""Keys looked for by name, state and place: the same ones as among whole keys, on both books."""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from server.ledger import postgres, sqlite
from server.ledger.database import Database, SqliteDatabase
from server.ledger.key_headings import key_headings, whole_keys
from server.ledger.key_store import KeyStore
from server.ledger.keys import Key
from server.ledger.member_store import MemberStore
from server.ledger.owner_store import OwnerStore
from server.ledger.tenants import MemberLevel, OwnerLevel
from tests.support.sites import new_site, postgres_server


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def books(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "SQLite":
        with closing(SqliteDatabase(sqlite.prepared_ledger(tmp_path))) as database:
            yield database
        return
    with postgres_server() as server, closing(postgres.open_database(new_site(server))) as site:
        yield site


def made(books: Database, name: str, owner: str = "acme", **fields: Any) -> Key:
    return KeyStore(books).create(Key(key_id="", name=name, owner=owner, **fields))[0]


def of_each_state(books: Database) -> list[Key]:
    """One active, one expired, one revoked, one whose member is disabled, one of another owner
    that is archived."""
    store, members, owners = KeyStore(books), MemberStore(books), OwnerStore(books)
    owners.create(OwnerLevel(owner_id="", name="acme"))
    members.create(MemberLevel(member_id="", name="ada", owner="acme"))
    found = [made(books, "one"), made(books, "two", expires_at=time.time() - 1)]
    found += [store.revoke(made(books, "three").key_id), made(books, "one", member_id="ada")]
    owners.create(OwnerLevel(owner_id="", name="other"))
    found.append(made(books, "five", owner="other"))
    members.update("ada", lambda member: replace(member, disabled_at=time.time()), "acme")
    owners.update("other", lambda owner: replace(owner, archived_at=time.time()))
    return found


def test_headings_say_of_each_key_what_it_says_itself(books: Database) -> None:
    of_each_state(books)
    whole, headings, now = KeyStore(books).list(), key_headings(books), time.time()
    assert [it.state(now) for it in headings] == [key.state(now) for key in whole]
    assert {key.state(now) for key in whole} == {"active", "expired", "revoked", "barred"}
    names = ("key_id", "name", "owner", "member_id", "expires_at", "revoked_at")
    for name in names:
        assert [getattr(it, name) for it in headings] == [getattr(key, name) for key in whole]


def test_whole_keys_come_in_the_order_of_their_headings(books: Database) -> None:
    of_each_state(books)
    whole, headings = KeyStore(books).list(), key_headings(books)
    assert whole_keys(books, headings[::-1]) == whole[::-1]
    assert [key.above.levels for key in whole_keys(books, headings)] == [
        key.above.levels for key in whole
    ]
    assert whole_keys(books, headings[1:2]) == whole[1:2]
    assert whole_keys(books, []) == []


def test_more_keys_than_one_statement_asks_for(books: Database) -> None:
    with books.writing("keys"):
        ids = [made(books, f"key {number}").key_id for number in range(1003)]
    headings = key_headings(books)
    assert [key.key_id for key in whole_keys(books, headings[1:])] == ids[1:]
    KeyStore(books).delete(ids[5:6])
    gone = [*ids[1:5], *ids[6:1003]]
    assert [key.key_id for key in whole_keys(books, headings[1:])] == gone


def test_a_key_is_called_by_its_id_and_by_its_name(books: Database) -> None:
    keys, store = of_each_state(books), KeyStore(books)
    assert [key.key_id for key in store.called("one")] == [keys[0].key_id, keys[3].key_id]
    assert [key.above.levels for key in store.called("one")] == [
        store.get(keys[n].key_id).above.levels for n in (0, 3)
    ]
    assert store.called(keys[4].key_id) == [store.get(keys[4].key_id)]
    assert store.called("One") == store.called("") == store.called("o%") == []
