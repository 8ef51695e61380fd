"""A start on a ledger of every released schema; and a ledger that a newer Fjord made."""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from benchmarks.old_ledgers import RELEASED, ddl, make_postgresql, make_sqlite
from server import __version__
from server.ledger import postgres, schema, sqlite
from server.ledger.backup import checked
from server.ledger.database import Database, SqliteDatabase
from server.ledger.errors import LedgerError
from server.ledger.open_books import open_books, open_to_read
from server.ledger.reports import RECORD_COLUMNS, Period, usage
from tests.support.sites import postgres_server

RECORDS = 200_000
BOUND_S = 4.0
"""Ten million in a minute would be 1.2: this is for a machine that does other things besides."""
OLD_RECORDS = f"SELECT {', '.join(RECORD_COLUMNS)} FROM usage_records ORDER BY record_id"
SHAPE = "SELECT type, name, tbl_name FROM sqlite_master ORDER BY name"
EVER = Period.month(2026, 6)


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with postgres_server() as running:
        yield running


def old_site(server: Any, old: str, records: int) -> str:
    """The URL of a database with a site's tables as that schema had them."""
    name = f"old_{time.time_ns()}"
    with closing(postgres.connect(server.get_uri())) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    url: str = server.get_uri(database=name)
    with closing(postgres.connect(url)) as connection:
        make_postgresql(connection, old, records)
    return url


def rows(ledger: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(ledger)) as connection:
        return connection.execute(sql).fetchall()


def references(ledger: Path) -> list[tuple[Any, ...]]:
    wanted = 'SELECT "table", "from", "to" FROM pragma_foreign_key_list(?) ORDER BY 1, 2'
    with closing(sqlite3.connect(ledger)) as connection:
        tables = ("records", "daily")
        return [row for name in tables for row in connection.execute(wanted, (name,))]


@pytest.mark.alone
@pytest.mark.parametrize("old", RELEASED)
def test_a_large_ledger_of_any_released_schema_is_at_the_newest_within_seconds(
    tmp_path: Path, old: str
) -> None:
    ledger = tmp_path / sqlite.FILE_NAME
    make_sqlite(ledger, old, RECORDS)
    size = ledger.stat().st_size
    began = time.perf_counter()
    sqlite.prepared_ledger(tmp_path)
    assert time.perf_counter() - began < BOUND_S
    assert ledger.stat().st_size < size * 1.1  # an index of daily sums; no record written again
    assert rows(ledger, "SELECT version_num FROM alembic_version") == [(schema.HEAD,)]


@pytest.mark.parametrize("old", RELEASED)
def test_of_any_released_schema_a_ledger_has_the_shape_of_a_new_one(
    tmp_path: Path, old: str
) -> None:
    """And the records that it had."""
    ledger, fresh = tmp_path / sqlite.FILE_NAME, tmp_path / "new"
    make_sqlite(ledger, old, 3_000)
    before = rows(ledger, OLD_RECORDS)
    sqlite.prepared_ledger(tmp_path)
    sqlite.prepared_ledger(fresh)
    assert rows(ledger, SHAPE) == rows(fresh / sqlite.FILE_NAME, SHAPE)
    assert len(references(ledger)) == 5
    assert references(ledger) == references(fresh / sqlite.FILE_NAME)
    assert rows(ledger, "PRAGMA integrity_check") == [("ok",)]
    assert rows(ledger, "PRAGMA foreign_key_check") == []
    assert len(before) == 3_000
    assert rows(ledger, OLD_RECORDS) == before


@pytest.mark.parametrize("old", RELEASED)
def test_what_an_earlier_fjord_read_is_there_for_it_to_read(tmp_path: Path, old: str) -> None:
    """Every table, view and column of its schema."""
    ledger = tmp_path / sqlite.FILE_NAME
    sqlite.prepared_ledger(tmp_path)
    with closing(sqlite3.connect(":memory:")) as earlier, closing(sqlite3.connect(ledger)) as now:
        earlier.executescript(ddl(old, "sqlite"))
        for (name,) in earlier.execute("SELECT name FROM pragma_table_list WHERE schema = 'main'"):
            columns = "SELECT name, type FROM pragma_table_info(?)"
            known = set(earlier.execute(columns, (name,)))
            assert known <= set(now.execute(columns, (name,))), name


@pytest.mark.parametrize("old", RELEASED)
def test_a_site_of_any_released_schema_comes_to_the_newest(server: Any, old: str) -> None:
    url = old_site(server, old, 3_000)
    with closing(postgres.connect(url)) as connection:
        before = connection.execute(OLD_RECORDS.encode()).fetchall()
    with closing(postgres.open_database(url)) as site:
        assert postgres.schema_of(site.connection).version == schema.HEAD
        assert site.query(OLD_RECORDS) == before
        assert sum(line["requests"] for line in usage(site, EVER)) > 0


KILLED_AT_EACH_STATEMENT = """
import os, signal, sys
from pathlib import Path
import alembic.command, alembic.autogenerate
from sqlalchemy import event
from sqlalchemy.engine import Engine
from server.ledger import sqlite

def migrate(last):
    count = 0
    def die(*_):
        nonlocal count
        count += 1
        if count == last:
            os.kill(os.getpid(), signal.SIGKILL)
    event.listen(Engine, "before_cursor_execute", die)
    event.listen(Engine, "commit", die)
    sqlite.prepared_ledger(Path(sys.argv[1]))
    os._exit(0)

last, status = 0, 1
while status:
    last += 1
    child = os.fork() or migrate(last)
    status = os.waitpid(child, 0)[1]
    with sqlite.closing(sqlite.connect(Path(sys.argv[1], sqlite.FILE_NAME))) as ledger:
        [version] = ledger.execute("SELECT version_num FROM alembic_version").fetchone()
        [whole] = ledger.execute("PRAGMA integrity_check").fetchone()
        [count] = ledger.execute("SELECT count(*) FROM usage_records").fetchone()
    print(status, version, whole, count)
"""


@pytest.mark.slow
def test_a_migration_that_is_killed_at_any_statement_is_done_by_the_next_start(
    tmp_path: Path,
) -> None:
    make_sqlite(tmp_path / sqlite.FILE_NAME, "0001", 5_000)
    command = [sys.executable, "-c", KILLED_AT_EACH_STATEMENT, str(tmp_path)]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    *killed, last = shown.stdout.splitlines()
    assert len(killed) > 25
    assert set(killed) == {"9 0001 ok 5000"}  # all of it or nothing
    assert last == f"0 {schema.HEAD} ok 5000"


def newer(database: Database, readable_from: str = schema.HEAD) -> None:
    """As a fjord of the future leaves it: a table and a column more."""
    database.execute("CREATE TABLE of_the_future (id BIGINT)")
    database.execute("ALTER TABLE keys ADD COLUMN of_the_future BIGINT")
    database.execute("UPDATE alembic_version SET version_num = '9999'")
    values = {schema.MADE_BY: "7.8.9", schema.READABLE: readable_from}
    for name, value in values.items():
        database.execute("UPDATE meta SET value = ? WHERE name = ?", (value, name))


@pytest.fixture(params=["sqlite", "postgresql"])
def books(request: pytest.FixtureRequest, tmp_path: Path, server: Any) -> tuple[Path, str | None]:
    """What `open_books` takes, for a ledger with 3,000 records, some steps from the newest schema:
    a note is made with the first step."""
    if request.param == "postgresql":
        return tmp_path, old_site(server, "0003", 3_000)
    make_sqlite(tmp_path / sqlite.FILE_NAME, "0003", 3_000)
    return tmp_path, None


def test_whoever_made_a_newer_schema_is_named_and_nothing_is_written(
    books: tuple[Path, str | None],
) -> None:
    made(books)
    with pytest.raises(LedgerError) as refused:
        open_books(*books)
    said = str(refused.value)
    assert "has schema 9999, made by fjord 7.8.9" in said
    assert f"this fjord ({__version__}) knows up to {schema.HEAD}: use fjord 7.8.9" in said


def test_what_a_newer_fjord_left_readable_is_read_and_not_written(
    books: tuple[Path, str | None],
) -> None:
    before = made(books)
    with closing(open_to_read(*books)) as database:
        assert usage(database, EVER) == before
        with pytest.raises(Exception, match=r"readonly|read-only"):
            database.execute("DELETE FROM keys")


def test_what_a_newer_fjord_says_is_not_to_be_understood_is_not_read(
    books: tuple[Path, str | None],
) -> None:
    made(books, readable_from="9998")
    with pytest.raises(LedgerError, match=r"made by fjord 7\.8\.9"):
        open_to_read(*books)


def made(books: tuple[Path, str | None], **how: str) -> list[dict[str, Any]]:
    """What was used, before it became a newer one."""
    data_dir, url = books
    if url is None:
        sqlite.prepared_ledger(data_dir)
    with closing(open_books(data_dir, url)) as database:
        before = usage(database, EVER)
        newer(database, **how)
    assert before
    return before


def test_a_backup_of_a_newer_fjord_names_it(tmp_path: Path) -> None:
    ledger = sqlite.prepared_ledger(tmp_path)
    with closing(SqliteDatabase(ledger)) as database:
        newer(database)
    with pytest.raises(LedgerError, match=r"made by fjord 7\.8\.9"):
        checked(ledger)
