"""A node's copy of its site's keys: what changed alone is copied, and what is the same is not
written."""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from server.ledger import postgres, sqlite
from server.ledger.database import Database, SqliteDatabase
from server.ledger.key_changes import KEPT, changed_since, noted
from server.ledger.key_mirror import mirrored
from server.ledger.key_store import KeyStore
from server.ledger.keys import Key
from server.ledger.member_store import MemberStore
from server.ledger.owner_store import OwnerStore
from server.ledger.site_store import SiteStore
from server.ledger.tenant_tree import TenantTree
from server.ledger.tenants import MemberLevel, OwnerLevel
from tests.support.sites import new_site, postgres_server
from tests.support.tenants import tokens


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with postgres_server() as running:
        yield running


@pytest.fixture
def site(server: Any) -> Iterator[Database]:
    with closing(postgres.open_database(new_site(server))) as database:
        yield database


@pytest.fixture
def node(tmp_path: Path) -> Iterator[SqliteDatabase]:
    with closing(SqliteDatabase(sqlite.prepared_ledger(tmp_path))) as database:
        yield database


def standing(database: Database) -> tuple[Any, ...]:
    tree = TenantTree.read(database)
    return tree.site, tree.owners, tree.members, KeyStore(database).list()


def new(site: Database, name: str, **fields: Any) -> Key:
    return KeyStore(site).create(Key(key_id="", name=name, owner="acme", **fields))[0]


def test_each_change_of_a_site_is_copied_alone(
    site: Database, node: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = new(site, "first")
    seen = mirrored(node, site, -1)
    assert standing(node) == standing(site)
    monkeypatch.delattr(KeyStore, "replace_all")
    second = new(site, "second", budget=tokens(5))
    seen = mirrored(node, site, seen)
    member = MemberStore(site).create(MemberLevel(member_id="", owner="acme", name="ada"))
    hers = new(site, "hers", member_id=member.member_id)
    OwnerStore(site).create(OwnerLevel(owner_id="", name="other"))
    seen = mirrored(node, site, seen)
    assert standing(node) == standing(site)
    KeyStore(site).revoke(first.key_id)
    KeyStore(site).rotate(second.key_id, grace_s=60)
    KeyStore(site).delete([hers.key_id])
    now = time.time()
    OwnerStore(site).update("other", lambda one: replace(one, archived_at=now))
    MemberStore(site).update("ada", lambda one: replace(one, name="bob", disabled_at=now))
    SiteStore(site).update(lambda one: replace(one, currency="EUR"))
    assert standing(node) != standing(site)
    seen = mirrored(node, site, seen)
    assert standing(node) == standing(site)
    before = KeyStore(node).version()
    assert mirrored(node, site, seen) == seen
    assert KeyStore(node).version() == before


def exchange_names(site: Database) -> None:
    for old, name in (("ada", "cy"), ("bob", "ada"), ("cy", "bob")):
        MemberStore(site).update(old, partial(replace, name=name))


def test_members_may_change_names_with_each_other(site: Database, node: SqliteDatabase) -> None:
    """Two names are never the same at the site; nor may they be so on the way."""
    OwnerStore(site).create(OwnerLevel(owner_id="", name="acme"))
    for name in ("ada", "bob"):
        MemberStore(site).create(MemberLevel(member_id="", owner="acme", name=name))
    seen = mirrored(node, site, -1)
    exchange_names(site)
    mirrored(node, site, seen)
    assert standing(node) == standing(site)
    exchange_names(site)
    mirrored(node, site, -1)
    assert standing(node) == standing(site)


def test_a_node_that_comes_back_writes_what_is_not_the_same(
    site: Database, node: SqliteDatabase
) -> None:
    keys = [new(site, str(number)) for number in range(5)]
    mirrored(node, site, -1)
    before = KeyStore(node).version()
    mirrored(node, site, -1)
    assert KeyStore(node).version() == before
    KeyStore(site).revoke(keys[3].key_id)
    KeyStore(site).delete([keys[4].key_id])
    mirrored(node, site, -1)
    assert standing(node) == standing(site)
    changes = changed_since(node, before)
    assert changes is not None
    assert {key.key_id for key in changes.keys} | changes.gone == {k.key_id for k in keys[3:]}


def test_what_a_site_does_not_know_any_more_is_read_whole(
    site: Database, node: SqliteDatabase
) -> None:
    new(site, "first")
    seen = mirrored(node, site, -1)
    with site.writing("keys"):
        site.execute(
            "UPDATE meta SET value = (value::bigint + ?)::text WHERE name = 'keys_version'",
            (KEPT + 1,),
        )
    new(site, "second")
    assert noted(site, seen, KeyStore(site).version()) is None
    mirrored(node, site, seen)
    assert standing(node) == standing(site)


def test_a_key_that_moves_while_it_is_copied_stands_under_its_new_owner(
    site: Database, node: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose budget and bars count for it at once."""
    key = new(site, "key")
    seen = mirrored(node, site, -1)
    KeyStore(site).rotate(key.key_id, grace_s=60)
    some = KeyStore.some

    def moved_before(store: KeyStore, key_ids: Any) -> Any:
        OwnerStore(site).create(OwnerLevel(owner_id="", name="new", budget=tokens(7)))
        member = MemberStore(site).create(MemberLevel(member_id="", owner="new", name="ada"))
        site.execute(
            "UPDATE keys SET owner = 'new', member_id = ? WHERE key_id = ?",
            (member.member_id, key.key_id),
        )
        return some(store, key_ids)

    monkeypatch.setattr(KeyStore, "some", moved_before)
    seen = mirrored(node, site, seen)
    monkeypatch.undo()
    [copied], [original] = KeyStore(node).list(), KeyStore(site).list()
    assert copied.owner == "new"
    assert [each.level_id for each in copied.levels] == [e.level_id for e in original.levels]
    assert [each.budget for each in copied.levels] == [each.budget for each in original.levels]
    mirrored(node, site, seen)
    assert standing(node) == standing(site)
