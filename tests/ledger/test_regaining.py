"""A node whose ledger comes back from an older backup has again what its site knows of it."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from server.ledger import postgres, sqlite
from server.ledger.allowance import Budget
from server.ledger.backup import back_up
from server.ledger.database import PostgresDatabase, SqliteDatabase
from server.ledger.errors import BudgetExceeded, LedgerError
from server.ledger.recovery import close_lost
from server.ledger.reports import usage
from server.ledger.retention import prune
from server.ledger.sqlite_rows import encode_open
from tests.support.nodes import limited_key, node, until, until_known
from tests.support.nodes import record as record_of
from tests.support.shipping import ALL, Node, record
from tests.support.sites import new_site, postgres_server

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with postgres_server() as running:
        yield running


@pytest.fixture
def url(server: Any) -> str:
    return new_site(server)


@pytest.fixture
def site(url: str) -> Iterator[PostgresDatabase]:
    with closing(postgres.open_database(url)) as database:
        yield database


def put_back(backup: Path, folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    shutil.copy(backup, folder / sqlite.FILE_NAME)


def holds(books: Any, *numbers: int) -> None:
    """Exactly these, once each, with all that is known of them, in the records and the sums."""
    found = books.query("SELECT record_id, owner, amount FROM usage_records ORDER BY record_id")
    assert found == [(f"r{n:04d}", f"owner-{n}", n) for n in sorted(numbers)]
    lines = usage(books, ALL, ["owner"])
    sums = {line["owner"]: (line["requests"], line["amount"]) for line in lines if line["requests"]}
    assert sums == {f"owner-{n}": (1, n) for n in numbers}


def local(one: Node) -> SqliteDatabase:
    return SqliteDatabase(one.path)


def test_what_was_shipped_since_the_backup_comes_back_and_counts_once_everywhere(
    tmp_path: Path, url: str, site: PostgresDatabase
) -> None:
    with closing(Node(tmp_path / "n", url)) as one:
        one.write(*(record(n) for n in range(3)))
        one.turns(1)
        one.write(record(3))  # in the backup and not yet shipped
        back_up(one.path, tmp_path / "backup")
        one.write(*(record(n, ttft_s=0.25, user=f"user-{n}") for n in range(4, 2400)))
        one.turns(4)
        before = site.query("SELECT * FROM usage_records ORDER BY record_id")
    put_back(tmp_path / "backup", tmp_path / "n")
    with closing(Node(tmp_path / "n", url)) as again:
        again.write(*(record(n) for n in range(2400, 2405)))  # before it meets its site
        again.turns(5)
        with closing(local(again)) as books:
            holds(books, *range(2405))
            columns = "record_id, ttft_us, duration_us, started_us, stream"
            rows = f"SELECT {columns} FROM usage_records ORDER BY record_id"
            assert books.query(rows) == site.query(rows)
        holds(site, *range(2405))
        assert site.query("SELECT * FROM usage_records ORDER BY record_id")[: len(before)] == before
        again.replication.disconnect()
        again.turns(2)
        with closing(local(again)) as books:
            holds(books, *range(2405))


def test_a_node_that_is_cut_off_meanwhile_has_it_all_after_the_next_contact(
    tmp_path: Path, url: str, site: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Node(tmp_path / "n", url)) as one:
        back_up(one.path, tmp_path / "backup")
        one.write(*(record(n) for n in range(2500)))
        one.turns(4)
    put_back(tmp_path / "backup", tmp_path / "n")
    with closing(Node(tmp_path / "n", url)) as again:
        pages = 0

        def cut(*asked: Any) -> Any:
            nonlocal pages
            pages += "node_uid = ? AND started_us" in asked[1]
            if pages == 2:
                pages += 1
                raise LedgerError("the connection was cut")
            return query(*asked)

        query = PostgresDatabase.query
        monkeypatch.setattr(PostgresDatabase, "query", cut)
        again.turns(1)
        with closing(local(again)) as books:
            assert books.query("SELECT count(*) FROM records") == [(1000,)]
        again.turns(5)
        with closing(local(again)) as books:
            holds(books, *range(2500))
        holds(site, *range(2500))


def test_a_request_that_ran_at_the_backup_is_what_it_became(
    tmp_path: Path, url: str, site: PostgresDatabase
) -> None:
    running = record(1, amount=0)
    with closing(Node(tmp_path / "n", url)) as one:
        with closing(local(one)) as books:
            entry = (running.record_id, encode_open(running))
            books.execute("INSERT INTO open_requests VALUES (?, ?)", entry)
        back_up(one.path, tmp_path / "backup")
        one.write(record(1))
        one.turns(1)
    put_back(tmp_path / "backup", tmp_path / "n")
    assert close_lost(tmp_path / "n" / sqlite.FILE_NAME) == 1
    with closing(Node(tmp_path / "n", url)) as again:
        again.turns(2)
        with closing(local(again)) as books:
            holds(books, 1)
            assert books.query('SELECT "end" FROM usage_records') == [("ok",)]
    holds(site, 1)


def test_what_a_node_had_pruned_before_the_backup_does_not_come_back(
    tmp_path: Path, url: str, site: PostgresDatabase
) -> None:
    day = datetime.fromtimestamp(record(0).started_at, UTC).date() + timedelta(days=1)
    later = 86_400.0 + record(0).started_at
    with closing(Node(tmp_path / "n", url)) as one:
        one.write(*(record(n) for n in range(4)))
        one.turns(1)
        with closing(local(one)) as books:
            assert prune(books, day) == 4
        back_up(one.path, tmp_path / "backup")
        one.write(record(4, started_at=later))
        one.turns(1)
    put_back(tmp_path / "backup", tmp_path / "n")
    with closing(Node(tmp_path / "n", url)) as again:
        again.turns(2)
        with closing(local(again)) as books:
            assert books.query("SELECT record_id FROM usage_records") == [("r0004",)]
            assert sum(line["requests"] for line in usage(books, ALL)) == 5
    holds(site, *range(5))


async def test_a_budget_that_was_spent_since_the_backup_is_spent(
    tmp_path: Path, url: str, site: PostgresDatabase
) -> None:
    """15 micro-units a record, of 300."""
    key_id = limited_key(site, Budget(kind="money", amount=300, period="month"))
    async with node(tmp_path / "n", url) as (one, _):
        await until_known(key_id, one)
        await one.close_record(record_of("early", key_id))
        back_up(one.path, tmp_path / "backup")
        for number in range(19):
            await one.close_record(record_of(f"r{number}", key_id))
        await until(lambda: site.query("SELECT count(*) FROM usage_records") == [(20,)])
    put_back(tmp_path / "backup", tmp_path / "n")
    async with node(tmp_path / "n", url) as (again, _):
        await until_known(key_id, again)
        account = again.budgets.accounts[key_id]
        await until(lambda: account.spent == 300 and account.is_read)
        with pytest.raises(BudgetExceeded):
            await again.begin(record_of("more", key_id), reserve_micro=15)
    assert site.query("SELECT sum(requests)::int, sum(amount)::int FROM usage_daily") == [(20, 300)]
