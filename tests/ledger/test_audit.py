"""The audit log: entries chained one to the next, and every way of tampering found."""

import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from server.ledger import retention
from server.ledger.actors import Actor, at_this_machine
from server.ledger.audit import ChainBroken, digest_of, entries, newest, note, verified
from server.ledger.audit_lines import exported
from server.ledger.database import Database, SqliteDatabase
from server.ledger.errors import LedgerError
from server.ledger.open_books import open_books
from server.ledger.sqlite import prepared_ledger
from tests.support.invoicing import add, used
from tests.support.sites import new_site, postgres_server

WHO = Actor(kind="key", name="abc", address="192.0.2.7")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return prepared_ledger(tmp_path)


@pytest.fixture
def database(path: Path) -> Iterator[SqliteDatabase]:
    with closing(SqliteDatabase(path)) as opened:
        opened.actor = WHO
        yield opened


def filled(database: Database, count: int = 5) -> None:
    for number in range(count):
        note(database, "key.update", f"k{number}", {"name": "a"}, {"name": f"æ{number}"})


def tampered(database: SqliteDatabase, sql: str, *values: Any) -> None:
    """As somebody who has the file does."""
    for verb in ("update", "delete"):
        database.execute(f"DROP TRIGGER IF EXISTS audit_{verb}")
    assert database.execute(sql, values) == 1


def test_it_is_a_chain(database: SqliteDatabase) -> None:
    assert verified(database) is None
    filled(database)
    last = verified(database)
    assert last is not None
    assert last.head == f"5:{last.digest}"
    found = list(entries(database))
    assert [e.number for e in found] == [1, 2, 3, 4, 5]
    assert [e.previous for e in found] == ["0" * 64, *(e.digest for e in found[:-1])]
    assert {(e.actor_kind, e.actor, e.address) for e in found} == {("key", "abc", "192.0.2.7")}
    assert found[1].after == '{"name":"æ1"}'
    assert [e.number for e in newest(database, 2)] == [5, 4]
    assert [e.number for e in newest(database, 9, before=3)] == [2, 1]
    assert len(newest(database, 9, action="key")) == len(newest(database, 9, action="key.update"))
    assert newest(database, 9, action="ke") == newest(database, 9, action="key.") == []


@pytest.mark.parametrize(
    "column", ["at_us", "actor_kind", "actor", "address", "action", "target", "before", "after"]
)
def test_a_row_that_is_edited_is_found(database: SqliteDatabase, column: str) -> None:
    filled(database)
    value = 1 if column == "at_us" else "x"
    tampered(database, f"UPDATE audit SET {column} = ? WHERE number = 3", value)
    with pytest.raises(ChainBroken, match=r"Entry 3 .* changed"):
        verified(database)


def test_an_edited_row_with_a_hash_of_its_own_is_found_by_the_next(
    database: SqliteDatabase,
) -> None:
    filled(database)
    third = list(entries(database))[2]
    values = [getattr(third, name) for name in third.__dataclass_fields__][:-1]
    values[6] = "another"
    tampered(
        database,
        "UPDATE audit SET target = 'another', digest = ? WHERE number = 3",
        digest_of(values),
    )
    with pytest.raises(ChainBroken, match="Entry 4 "):
        verified(database)


def test_rows_that_are_missing_are_found_in_the_middle_and_at_the_end(
    database: SqliteDatabase,
) -> None:
    filled(database)
    last = verified(database)
    assert last is not None
    tampered(database, "DELETE FROM audit WHERE number = 5")
    with pytest.raises(ChainBroken, match="ends at entry 4; it had one 5"):
        verified(database)
    fourth = list(entries(database))[-1]
    tampered(database, "UPDATE meta SET value = ? WHERE name = 'audit_head'", fourth.head)
    assert verified(database) == fourth  # whoever has the file can hide its end ...
    with pytest.raises(ChainBroken, match="it had one 5"):
        verified(database, last.head)  # ... but not from who noted the head
    tampered(database, "DELETE FROM audit WHERE number = 2")
    with pytest.raises(ChainBroken, match=r"Entry 2 .* missing"):
        verified(database)


def test_another_chain_of_the_same_length_is_not_the_one_that_was_noted(
    database: SqliteDatabase, tmp_path: Path
) -> None:
    filled(database)
    other = prepared_ledger(tmp_path / "other")
    with closing(SqliteDatabase(other)) as another:
        filled(another)
        told = verified(another)
    assert told is not None
    with pytest.raises(ChainBroken, match=r"Entry 5 .* another"):
        verified(database, told.head)


@pytest.mark.parametrize("head", ["", "5", "x:1", "5:abc", "-1:" + "0" * 64, "9" * 30 + ":0"])
def test_a_head_that_is_none_is_refused(database: SqliteDatabase, head: str) -> None:
    filled(database)
    with pytest.raises(LedgerError, match="no head"):
        verified(database, head)


@pytest.mark.parametrize("at_us", [2**63 - 1, -(2**63)])
def test_a_time_that_no_calendar_has_is_shown_as_its_number(
    database: SqliteDatabase, at_us: int
) -> None:
    filled(database)
    tampered(database, "UPDATE audit SET at_us = ? WHERE number = 3", at_us)
    assert [exported(entry)["at"] for entry in newest(database, 9)][2] == str(at_us)


def test_a_remembered_head_that_is_none_is_damage(database: SqliteDatabase) -> None:
    filled(database)
    tampered(database, "UPDATE meta SET value = 'junk' WHERE name = 'audit_head'")
    with pytest.raises(ChainBroken, match="remembered"):
        verified(database)


@pytest.mark.parametrize("sql", ["UPDATE audit SET actor = 'x'", "DELETE FROM audit"])
def test_the_database_itself_refuses_a_change(database: SqliteDatabase, sql: str) -> None:
    filled(database)
    with pytest.raises(Exception, match="never changes"):
        database.execute(sql)


def test_what_changes_nothing_is_no_entry(database: SqliteDatabase) -> None:
    note(database, "key.update", "k", {"name": "a"}, {"name": "a"})
    assert verified(database) is None
    note(database, "weights.pull", "k", None, None)
    assert verified(database) is not None


def test_it_is_kept_with_the_change_or_not_at_all(database: SqliteDatabase) -> None:

    def fails() -> None:
        with database.writing("keys"):
            note(database, "key.create", "k", None, {"name": "a"})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert verified(database) is None


def test_its_entries_are_of_bounded_length(database: SqliteDatabase) -> None:
    note(database, "key.update", "k" * 9999, None, {"models": ["x" * 99] * 9999})
    [entry] = entries(database)
    assert len(entry.target) <= 500
    assert len(entry.after) < 200
    assert verified(database) is not None


def test_what_is_pruned_is_one_entry_however_many_slices_it_takes(
    database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "SLICE", 2)
    add(database, *(used("2026-01") for _ in range(5)))
    assert retention.prune(database, date(2026, 1, 1)) == 0
    assert verified(database) is None
    assert retention.prune(database, date(2026, 3, 1)) == 5
    assert [(e.action, e.target) for e in entries(database)] == [
        ("records.prune", "before 2026-03-01")
    ]


def test_many_at_once_make_one_chain(path: Path) -> None:
    def add() -> None:
        with closing(SqliteDatabase(path)) as database:
            filled(database, 20)

    threads = [threading.Thread(target=add) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with closing(SqliteDatabase(path)) as database:
        last = verified(database)
    assert last is not None
    assert last.number == 120


def test_somebody_at_this_machine_has_a_name() -> None:
    assert at_this_machine().kind == "command"
    assert "@" in at_this_machine().name


@pytest.fixture(scope="module")
def site_url() -> Iterator[str]:
    with postgres_server() as running:
        yield new_site(running)


@pytest.mark.slow
def test_nodes_of_a_site_write_one_chain_and_nobody_changes_it(site_url: str) -> None:
    def add() -> None:
        with closing(open_books(Path(), site_url)) as node:
            filled(node, 10)

    threads = [threading.Thread(target=add) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with closing(open_books(Path(), site_url)) as site:
        last = verified(site)
        assert last is not None
        assert last.number == 50
        for sql in ("UPDATE audit SET actor = 'x'", "DELETE FROM audit", "TRUNCATE audit"):
            with pytest.raises(Exception, match="never changes"):
                site.execute(sql)
        site.execute("DROP TRIGGER audit_changed ON audit")
        site.execute("UPDATE audit SET actor = 'x' WHERE number = 20")
        with pytest.raises(ChainBroken, match="Entry 20"):
            verified(site)
