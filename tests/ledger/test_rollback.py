"""A write that fails at any point costs nobody their record and gives it to nobody else."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from server.ledger import sqlite
from server.ledger.records import UsageRecord
from server.ledger.sqlite_rows import encode_open
from server.ledger.write_ops import Close, Open
from server.ledger.writer import Writer

STATEMENTS = 16
"""More than a batch of two new customers takes."""
NAMES = ("alice", "bob", "carol", "dave")


class FaultyConnection(sqlite3.Connection):
    """A disk that fails once, at the statement with the number `fails_at`."""

    fails_at = -1
    count = 0

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        self.count += 1
        if self.count == self.fails_at:
            raise sqlite3.OperationalError("disk I/O error")
        return super().execute(sql, parameters)


def record_of(name: str, record_id: str = "") -> UsageRecord:
    """A record in which everything that is stored by an id is this customer's own."""
    return UsageRecord(
        record_id=record_id or f"r-{name}",
        key_id=f"key-{name}",
        owner=f"owner-{name}",
        alias=f"alias-{name}",
        weights="w",
        revision=None,
        endpoint="chat",
        stream=True,
        started_at=1_700_000_000.0,
        end="ok",
        agent_id=f"agent-{name}",
        user=f"user-{name}",
        prompt_tokens=len(name),
        amount=100 + len(name),
    )


def facts(name: str) -> tuple[Any, ...]:
    kind = (f"key-{name}", f"owner-{name}", f"alias-{name}")
    return (f"r-{name}", *kind, f"agent-{name}", f"user-{name}", 100 + len(name))


@contextmanager
def written(path: Path, factory: type[sqlite3.Connection]) -> Iterator[Writer]:
    """A writer without its thread: each turn is the test's."""
    loop = asyncio.new_event_loop()
    writer = Writer(path, connect=lambda at: sqlite.connect(at, factory=factory))
    writer.open(loop)
    try:
        yield writer
    finally:
        writer.connection.close()
        loop.close()


def check(path: Path, names: tuple[str, ...]) -> None:
    """Each customer has exactly what is theirs: in the records, the sums and the keys' use."""
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute(
            'SELECT record_id, key_id, owner, alias, agent_id, "user", amount FROM usage_records'
        ).fetchall()
        sums = connection.execute(
            "SELECT key_id, owner, alias, agent_id, requests, amount FROM usage_daily"
        ).fetchall()
        used = connection.execute("SELECT key_id FROM key_use").fetchall()
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("SELECT record_id FROM open_requests").fetchall() == []
    assert sorted(found) == sorted(facts(name) for name in names)
    assert sorted(sums) == sorted((*facts(n)[1:5], 1, facts(n)[6]) for n in names)
    assert sorted(used) == sorted((f"key-{name}",) for name in names)


def assert_well(writer: Writer) -> None:
    assert writer.trouble is None
    assert writer.kept == []


def closes(*names: str) -> list[Any]:
    return [Close(record_of(name)) for name in names]


def one_and_an_open() -> list[Any]:
    """One group commit of finished and of open requests."""
    other = record_of("carol")
    return [*closes("alice", "bob"), Open(other.record_id, encode_open(other))]


def with_a_double() -> list[Any]:
    """A batch that is written one by one."""
    return [*closes("alice"), Close(record_of("dave", "r-alice")), *closes("bob")]


def closes_alone() -> list[Any]:
    return closes("alice", "bob")


@pytest.mark.parametrize("batch", [one_and_an_open, with_a_double, closes_alone])
@pytest.mark.parametrize("fails_at", range(1, STATEMENTS + 1))
def test_a_fault_at_any_statement_gives_no_record_to_another_customer(
    tmp_path: Path, batch: Callable[[], list[Any]], fails_at: int
) -> None:
    path = sqlite.prepared_ledger(tmp_path)
    with written(path, FaultyConnection) as writer:
        connection = writer.connection
        assert isinstance(connection, FaultyConnection)
        connection.fails_at = connection.count + fails_at
        writer.turn(batch())
        writer.turn(closes("carol"))
        writer.turn(closes("dave"))
        assert_well(writer)
    check(path, NAMES)


@pytest.mark.parametrize("pages", range(1, 12))
def test_a_disk_that_is_full_after_any_page_gives_no_record_to_another_customer(
    tmp_path: Path, pages: int
) -> None:
    path = sqlite.prepared_ledger(tmp_path)
    with written(path, sqlite3.Connection) as writer:
        (used,) = writer.connection.execute("PRAGMA page_count").fetchone()
        writer.connection.execute(f"PRAGMA max_page_count = {used + pages - 1}")
        fillers: list[UsageRecord] = []
        while writer.trouble is None:
            fillers.append(record_of("dave", f"f-{len(fillers)}"))
            fillers[-1].user = f"{len(fillers)} " + 3000 * "x"
            writer.turn([Close(fillers[-1])])
        assert "full" in writer.trouble
        writer.turn(closes("alice", "bob"))
        assert len(writer.kept) == 3
        writer.connection.execute(f"PRAGMA max_page_count = {used + 10_000}")
        writer.turn(closes("carol"))
        assert_well(writer)
        found = writer.connection.execute(
            'SELECT record_id, key_id, owner, alias, agent_id, "user", amount FROM usage_records'
            " WHERE record_id NOT LIKE 'f-%'"
        ).fetchall()
        count = "SELECT count(*) FROM usage_records"
        assert writer.connection.execute(count).fetchone() == (len(fillers) + 3,)
    assert sorted(found) == sorted(facts(name) for name in ("alice", "bob", "carol"))


def test_what_is_remembered_wrongly_is_read_again_and_never_written(tmp_path: Path) -> None:
    path = sqlite.prepared_ledger(tmp_path)
    with written(path, sqlite3.Connection) as writer:
        writer.rows.words["user-alice"] = 4711
        writer.turn(closes("alice", "bob"))
        assert_well(writer)
    check(path, ("alice", "bob"))


def test_a_record_that_no_row_can_hold_harms_nobody_else(tmp_path: Path) -> None:
    path = sqlite.prepared_ledger(tmp_path)
    with written(path, sqlite3.Connection) as writer:
        huge = record_of("dave")
        huge.price_input = 2**70
        writer.turn([Close(huge), *closes("alice")])
        assert_well(writer)
    check(path, ("alice",))
