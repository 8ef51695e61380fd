"""A ledger of the schema before comes through a start with all that it holds."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from server.ledger import schema, sqlite
from server.ledger.records import UsageRecord
from server.ledger.sqlite_rows import INSERT_RECORDS, SqliteRows

RECORDS = "SELECT * FROM usage_records ORDER BY seq"
SUMS = "SELECT * FROM usage_daily ORDER BY day, key_id, agent_id"


def record(number: int) -> UsageRecord:
    return UsageRecord(
        record_id=f"r{number}",
        key_id=f"k{number % 3}",
        owner=f"owner-{number % 2}",
        alias="a",
        weights="w",
        revision=None,
        endpoint="chat",
        stream=True,
        started_at=1_700_000_000.0 + number * 40_000,
        end="ok",
        agent_id=f"agent-{number % 4}",
        user=f"user-{number}",
        prompt_tokens=number,
        amount=number * 7,
    )


@pytest.fixture
def old(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A ledger of schema 0002 with twenty records, the last of them pruned."""
    path = tmp_path / sqlite.FILE_NAME
    schema.migrate(f"sqlite:///{path}", "0002")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        batch = SqliteRows(connection).batch([record(number) for number in range(20)])
        connection.execute(INSERT_RECORDS, (batch,))
        connection.execute("DELETE FROM records WHERE record_id = 'r19'")
        yield connection


def rows(data_dir: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite.connect(data_dir / sqlite.FILE_NAME)) as connection:
        return connection.execute(sql).fetchall()


def test_records_and_sums_are_what_they_were_and_numbers_go_on(
    tmp_path: Path, old: sqlite3.Connection
) -> None:
    before = old.execute(RECORDS).fetchall(), old.execute(SUMS).fetchall()
    sqlite.prepared_ledger(tmp_path)
    assert rows(tmp_path, "SELECT version_num FROM alembic_version") == [(schema.HEAD,)]
    assert (rows(tmp_path, RECORDS), rows(tmp_path, SUMS)) == before
    with closing(sqlite.connect(tmp_path / sqlite.FILE_NAME)) as connection:
        batch = SqliteRows(connection).batch([record(20)])
        connection.execute(INSERT_RECORDS, (batch,))
    assert rows(tmp_path, "SELECT max(seq) FROM records") == [(21,)]
    assert rows(tmp_path, "SELECT sum(requests) FROM usage_daily") == [(21,)]


def test_a_row_that_names_no_kind_or_word_is_refused(
    tmp_path: Path, old: sqlite3.Connection
) -> None:
    sqlite.prepared_ledger(tmp_path)
    with closing(sqlite.connect(tmp_path / sqlite.FILE_NAME)) as connection:
        for column in ("kind", "agent", "user"):
            with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
                connection.execute(f"UPDATE records SET {column} = 4711 WHERE seq = 1")


def test_a_record_that_had_lost_its_words_is_in_the_reports_again_and_is_shipped(
    tmp_path: Path, old: sqlite3.Connection
) -> None:
    old.execute("DELETE FROM words WHERE word = 'user-7'")
    old.execute("DELETE FROM words WHERE word = 'agent-1'")
    old.execute("DELETE FROM kinds WHERE key_id = 'k2'")
    old.execute("UPDATE meta SET value = '10' WHERE name = 'shipped_seq'")
    sqlite.prepared_ledger(tmp_path)
    assert rows(tmp_path, "SELECT count(*), sum(amount) FROM usage_records") == [
        (19, sum(number * 7 for number in range(19)))
    ]
    ((owner, user),) = rows(
        tmp_path, "SELECT owner, \"user\" FROM usage_records WHERE record_id = 'r7'"
    )
    assert (owner, user.startswith("(lost ")) == ("owner-1", True)
    assert rows(tmp_path, "SELECT DISTINCT owner FROM usage_records WHERE record_id = 'r8'") == [
        ("(lost)",)
    ]
    due = [number + 1 for number in range(10) if number % 3 == 2 or number % 4 == 1 or number == 7]
    assert rows(tmp_path, "SELECT seq FROM set_aside WHERE is_due ORDER BY seq") == [
        (seq,) for seq in due
    ]
