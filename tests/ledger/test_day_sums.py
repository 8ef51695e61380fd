"""Closed days summed by one dimension: equal to the daily sums, whatever happens."""

import random
import shutil
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from server.ledger import day_sums, sqlite
from server.ledger.database import SqliteDatabase
from server.ledger.day_summing import DaySumming
from server.ledger.day_sums import sum_closed_days
from server.ledger.key_store import KeyStore
from server.ledger.periods import date_of, day_number
from server.ledger.regaining import UNCOUNT
from server.ledger.reports import Dimension, Line, Only, Period, usage
from server.ledger.retention import prune
from tests.support.invoicing import add, used
from tests.support.tenants import new_key, new_member, new_owner

TODAY = datetime.now(UTC).date()
FIRST = TODAY - timedelta(days=40)
ALL = Period(date(1970, 1, 1), date(9998, 12, 31))
PERIODS = (ALL, Period(FIRST, TODAY), Period(TODAY - timedelta(days=9), TODAY - timedelta(days=3)))
BY: Sequence[str] = (
    *("", "day", "month", "owner", "alias", "key", "agent_id", "member", "region"),
    *("day owner", "month key", "owner alias", "member owner"),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return sqlite.prepared_ledger(tmp_path)


class Life:
    """Random records of the last weeks, and all else that changes them."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path, self.chance = path, random.Random(seed)
        with closing(SqliteDatabase(path)) as books:
            for owner in ("acme", "globex"):
                new_owner(books, owner)
                new_member(books, "ada", owner)
            self.keys = [
                new_key(books, owner, member_id=member)
                for owner in ("acme", "globex")
                for member in ("ada", None)
            ]

    def step(self) -> None:
        step = self.chance.choice([self.write, self.write, self.sum, self.prune, self.uncount])
        with closing(SqliteDatabase(self.path)) as books:
            step(books)

    def write(self, books: SqliteDatabase) -> None:
        chance = self.chance
        day = FIRST + timedelta(days=chance.randrange(41))
        for _ in range(chance.randrange(1, 6)):
            record = used(
                day.isoformat()[:7],
                chance.choice(["acme", "globex"]),
                chance.randrange(1, 10**6),
                key_id=chance.choice(self.keys),
                alias=chance.choice(["a", "b"]),
                agent_id=chance.choice([None, "x", "y"]),
                currency=chance.choice(["NOK", "EUR"]),
            )
            at = datetime(day.year, day.month, day.day, chance.randrange(24), tzinfo=UTC)
            add(books, replace(record, started_at=at.timestamp()))

    def sum(self, books: SqliteDatabase) -> None:
        for _ in sum_closed_days(books):
            if self.chance.random() < 0.1:
                return

    def prune(self, books: SqliteDatabase) -> None:
        prune(books, FIRST + timedelta(days=self.chance.randrange(10)))

    def uncount(self, books: SqliteDatabase) -> None:
        """As a node does that takes back a record from its site."""
        found = books.query("SELECT record_id FROM records ORDER BY random() LIMIT 1")
        for row in found:
            with books.writing("records"):
                books.execute(UNCOUNT, row)
                books.execute("DELETE FROM records WHERE record_id = ?", row)


def without_sums(monkeypatch: pytest.MonkeyPatch, ask: Any) -> Any:
    with monkeypatch.context() as patched:
        patched.setattr(day_sums, "source", lambda *_: None)
        return ask()


def reports(books: SqliteDatabase, key: str) -> list[list[Line]]:
    [(member,)] = books.query("SELECT member_id FROM members WHERE owner = 'acme'")
    onlys = (
        *(Only(), Only(owner="acme"), Only(key_id=key), Only(alias="a")),
        *(Only(member_id=member), Only(owner="acme", alias="b")),
    )
    return [
        usage(books, period, cast(list[Dimension], by.split()), only)
        for period in PERIODS
        for by in BY
        for only in onlys
    ]


@pytest.mark.parametrize("seed", range(3))
def test_sums_are_the_daily_sums_whatever_happens(
    path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Life(path, seed)
    for _ in range(12):
        for _ in range(4):
            life.step()
        if life.chance.random() < 0.2:
            shutil.copy(path, path.with_suffix(".before"))
        elif life.chance.random() < 0.1 and path.with_suffix(".before").exists():
            shutil.copy(path.with_suffix(".before"), path)
        with closing(SqliteDatabase(path)) as books:
            books.query("PRAGMA wal_checkpoint(TRUNCATE)")
            found = reports(books, life.keys[0])
            assert found == without_sums(monkeypatch, lambda: reports(books, life.keys[0]))


def test_reports_read_the_sums_of_closed_days_and_no_others(path: Path) -> None:
    with closing(SqliteDatabase(path)) as books:
        month = (TODAY - timedelta(days=40)).isoformat()[:7]
        add(books, used(month, "acme", 5), used(month, "globex", 7))
        at = datetime.now(UTC).timestamp()
        add(books, replace(used(month, "acme", 11), started_at=at))
        assert books.query("SELECT * FROM summed_days") == []
        days = list(sum_closed_days(books))
        assert [date_of(day).isoformat() for day in days if _has(books, day)] == [f"{month}-15"]
        assert day_number(TODAY) not in days
        books.execute("UPDATE day_sums SET amount = amount + 100")
        sums = {line["owner"]: line["amount"] for line in usage(books, ALL, ["owner"])}
        assert sums == {"acme": 5 + 100 + 11, "globex": 107}
        add(books, used(month, "globex", 1))
        sums = {line["owner"]: line["amount"] for line in usage(books, ALL, ["owner"])}
        assert sums == {"acme": 16, "globex": 8}, "a late record: the day is read anew"
        assert [day for day in sum_closed_days(books) if _has(books, day)] == [
            day for day in days if _has(books, day)
        ]
        assert {line["amount"] for line in usage(books, ALL, ["owner"])} == {16, 8}


def _has(books: SqliteDatabase, day: int) -> bool:
    return bool(books.query("SELECT 1 FROM daily WHERE day = ?", (day,)))


def test_they_are_summed_in_the_background_until_told_to_stop(path: Path) -> None:
    with closing(SqliteDatabase(path)) as books:
        assert KeyStore(books).list() == []
        for days in range(30):
            at = (datetime.now(UTC) - timedelta(days=days)).timestamp()
            add(books, replace(used("2026-01", "acme", 5), started_at=at))
        summing = DaySumming(path, first_s=0.0)
        summing.start()
        until_s = time.monotonic() + 30
        while books.query("SELECT count(*) FROM summed_days") == [(0,)]:
            assert time.monotonic() < until_s
        summing.stop()
        [(count,)] = books.query("SELECT count(*) FROM summed_days")
        assert 1 <= count <= 29
        DaySumming(path).stop()
