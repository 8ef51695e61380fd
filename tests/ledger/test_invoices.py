"""Issued invoices: numbered without a gap, never changed, and nothing on none or on two of them."""

import random
import sqlite3
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pytest

from server.ledger.database import Database, SqliteDatabase
from server.ledger.errors import LedgerError
from server.ledger.invoice import document
from server.ledger.invoicing import drafts, issue, issued, owners
from tests.support.invoicing import SELLER, Books, add, local_books, site_books, used
from tests.support.sites import new_site, postgres_server

MONTHS = ("2026-08", "2026-09", "2026-10", "2026-11")
AFTER = date(2026, 12, 1)


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with postgres_server() as running:
        yield running


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def books(request: pytest.FixtureRequest, tmp_path: Path) -> Books:
    """Each opens a connection of its own to the same fresh ledger."""
    if request.param == "sqlite":
        return local_books(tmp_path)
    return site_books(new_site(request.getfixturevalue("server")))


def every_number(database: Database) -> list[tuple[int, int]]:
    sql = "SELECT year, serial FROM invoices ORDER BY issued_on, year, serial"
    return [(year, serial) for year, serial in database.query(sql)]


def test_an_invoice_has_number_date_seller_and_vat_and_is_the_sum_of_its_records(
    books: Books,
) -> None:
    with books() as database:
        add(database, *(used("2026-10", tokens=n) for n in (5, 7)))
        add(database, used("2026-10", tokens=11, currency="EUR"))
        add(database, used("2026-10", owner="other", tokens=100), used("2026-11", tokens=1000))
        in_euro, in_kroner = issue(database, "acme", "2026-10", SELLER, date(2026, 11, 1))
    assert [in_euro.number, in_kroner.number] == ["2026-0001", "2026-0002"]
    assert in_kroner.issued_on == date(2026, 11, 1)
    assert in_kroner.seller == SELLER
    assert [in_euro.net, in_kroner.net] == [11, 12]
    assert [in_euro.vat, in_kroner.vat] == [3, 3]
    assert [line["requests"] for line in in_kroner.lines] == [2]


def test_a_late_record_goes_onto_the_next_invoice_and_changes_none(books: Books) -> None:
    with books() as database:
        add(database, used("2026-10", tokens=5))
        first = issue(database, "acme", "2026-10", SELLER, date(2026, 11, 1))
        add(database, used("2026-10", tokens=3), used("2026-11", tokens=8))
        assert issue(database, "acme", "2026-10", SELLER, AFTER) == first
        assert drafts(database, "acme", "2026-10", SELLER) == []
        (second,) = issue(database, "acme", "2026-11", SELLER, AFTER)
        assert issued(database, "acme", "2026-10") == first
    assert [(line["month"], line["amount"]) for line in second.lines] == [
        ("2026-10", 3),
        ("2026-11", 8),
    ]
    assert [line["is_late"] for line in document(second)["lines"]] == [True, False]
    assert second.number == "2026-0002"


def test_an_invoice_may_hold_late_records_alone(books: Books) -> None:
    with books() as database:
        add(database, used("2026-10", tokens=5))
        issue(database, "acme", "2026-10", SELLER, date(2026, 11, 1))
        add(database, used("2026-10", tokens=3))
        assert owners(database, "2026-11") == ["acme"]
        (second,) = issue(database, "acme", "2026-11", SELLER, AFTER)
    assert [(line["month"], line["amount"]) for line in second.lines] == [("2026-10", 3)]


def test_a_month_before_an_issued_one_is_issued_no_more(books: Books) -> None:
    """What is left of it is on the later one already, or goes onto the next."""
    with books() as database:
        add(database, used("2026-10", tokens=5), used("2026-11", tokens=8))
        (both,) = issue(database, "acme", "2026-11", SELLER, AFTER)
        assert both.net == 13
        add(database, used("2026-10", tokens=1))
        assert issue(database, "acme", "2026-10", SELLER, AFTER) == []


def test_a_draft_has_no_number_and_holds_what_an_invoice_would(books: Books) -> None:
    with books() as database:
        add(database, used("2026-10", tokens=5))
        (draft,) = drafts(database, "acme", "2026-10", SELLER)
        (invoice,) = issue(database, "acme", "2026-10", SELLER, AFTER)
    assert (draft.number, draft.issued_on) == (None, None)
    assert draft.title == "Draft, not an invoice"
    assert (draft.net, draft.vat, draft.to_pay) == (invoice.net, invoice.vat, invoice.to_pay)


def test_refused_requests_are_no_lines(books: Books) -> None:
    with books() as database:
        add(database, used("2026-10", tokens=0, alias="", end="rejected"))
        assert drafts(database, "acme", "2026-10", SELLER) == []
        add(database, used("2026-10", tokens=5))
        (invoice,) = issue(database, "acme", "2026-10", SELLER, AFTER)
    assert [line["alias"] for line in invoice.lines] == ["kimi-k2"]


@pytest.mark.parametrize(
    ("month", "seller", "today", "says"),
    [
        ("2026-10", SELLER, date(2026, 10, 31), "is not over"),
        ("2026-10", None, AFTER, "seller"),
        ("2026-10", SELLER, date(2026, 11, 2), "there is an invoice of 2026-11-03"),
    ],
)
def test_what_may_not_be_issued_is_refused_and_takes_no_number(
    books: Books, month: str, seller: Any, today: date, says: str
) -> None:
    with books() as database:
        add(database, used("2026-09", owner="first"), used("2026-10"))
        issue(database, "first", "2026-09", SELLER, date(2026, 11, 3))
        with pytest.raises(LedgerError, match=says):
            issue(database, "acme", month, seller, today)
        assert every_number(database) == [(2026, 1)]


def test_numbers_begin_anew_each_year(books: Books) -> None:
    with books() as database:
        add(database, *(used(month) for month in MONTHS))
        days = (date(2026, 12, 30), date(2026, 12, 31), date(2027, 1, 1), date(2027, 1, 1))
        found = [
            one.number
            for month, day in zip(MONTHS, days, strict=True)
            for one in issue(database, "acme", month, SELLER, day)
        ]
    assert found == ["2026-0001", "2026-0002", "2027-0001", "2027-0002"]


def test_issuers_at_once_get_different_numbers_and_leave_no_gap(books: Books) -> None:
    names = [f"owner-{n}" for n in range(12)]
    with books() as database:
        add(database, *(used("2026-10", owner=name) for name in names))

    def run(name: str) -> list[str | None]:
        with books() as database:
            return [one.number for one in issue(database, name, "2026-10", SELLER, AFTER)]

    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(run, [*names, *names]))  # each asked for by two
    numbers = {name: found[place] for place, name in enumerate(names)}
    assert [numbers[name] for name in names] == found[len(names) :]
    assert sorted(one for each in numbers.values() for one in each if one) == [
        f"2026-{n:04d}" for n in range(1, 13)
    ]


def refuse_lines_of(database: Database, alias: str) -> None:
    """From now on the database itself fails in the middle of an issue."""
    if isinstance(database, SqliteDatabase):
        database.execute(
            "CREATE TRIGGER full BEFORE INSERT ON invoice_lines"
            f" WHEN new.alias = '{alias}' BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
    else:
        database.execute(
            f"ALTER TABLE invoice_lines ADD CONSTRAINT full_disk CHECK (alias <> '{alias}')"
        )


def test_an_issue_that_fails_stores_nothing_and_takes_no_number(books: Books) -> None:
    with books() as database:
        add(database, used("2026-10", currency="EUR"), used("2026-10", alias="bad"))
        add(database, used("2026-10", owner="next"))
        refuse_lines_of(database, "bad")
        with pytest.raises(Exception, match="full"):
            issue(database, "acme", "2026-10", SELLER, AFTER)
        assert every_number(database) == []
        assert database.query("SELECT count(*) FROM invoice_lines") == [(0,)]
        (following,) = issue(database, "next", "2026-10", SELLER, AFTER)
    assert following.number == "2026-0001"


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE invoices SET net = 0",
        "DELETE FROM invoices",
        "UPDATE invoice_lines SET amount = 0",
        "DELETE FROM invoice_lines",
    ],
)
def test_the_database_itself_lets_nobody_change_an_issued_invoice(books: Books, sql: str) -> None:
    with books() as database:
        add(database, used("2026-10"))
        before = issue(database, "acme", "2026-10", SELLER, AFTER)
        with pytest.raises((sqlite3.Error, psycopg.Error), match="never changes"):
            database.execute(sql)
        assert issued(database, "acme", "2026-10") == before


@pytest.mark.parametrize("seed", range(6))
def test_issued_and_unissued_are_together_all_records(books: Books, seed: int) -> None:
    """Whatever the order of records and issues: numbers have no gap, an issued invoice stays as it
    was, and once all is issued each owner's invoices are the sum of his records."""
    chance = random.Random(seed)
    total: Counter[tuple[str, str]] = Counter()
    seen: dict[str, dict[str, Any]] = {}
    with books() as database:
        for _ in range(60):
            owner, month = chance.choice(["acme", "beta"]), chance.choice(MONTHS)
            if chance.random() < 0.75:
                record = any_record(chance, owner, month)
                add(database, record)
                total[owner, record.currency] += record.amount
            else:
                for one in issue(database, owner, month, SELLER, AFTER):
                    assert seen.setdefault(str(one.number), document(one)) == document(one)
            assert sum_of_all(database) == sum(total.values())
        for owner in ("acme", "beta"):
            issue(database, owner, "2026-12", SELLER, date(2027, 1, 1))
        billed = database.query("SELECT owner, currency, sum(net) FROM invoices GROUP BY 1, 2")
        assert {(owner, currency): int(net) for owner, currency, net in billed if net} == +total
        serials = [serial for year, serial in every_number(database) if year == 2026]
        again = {
            str(one.number): document(one)
            for owner in ("acme", "beta")
            for month in MONTHS
            for one in issued(database, owner, month)
        }
    assert serials == list(range(1, len(serials) + 1))
    assert again == seen


def any_record(chance: random.Random, owner: str, month: str) -> Any:
    return used(
        month,
        owner,
        chance.randrange(100_000),
        alias=chance.choice(["a", "b"]),
        currency=chance.choice(["NOK", "EUR"]),
        price_input=chance.choice([3_333_333, 7]),
        completion_tokens=chance.randrange(1000),
        price_output=9_999_999,
    )


def sum_of_all(database: Database) -> int:
    """Issued, and what a last draft would hold; the months after the last use."""
    ((billed,),) = database.query("SELECT coalesce(sum(net), 0) FROM invoices")
    rest = [one for owner in ("acme", "beta") for one in drafts(database, owner, "2027-01", None)]
    return int(billed) + sum(one.net for one in rest)
