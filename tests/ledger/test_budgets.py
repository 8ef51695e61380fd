"""Budgets: counted while requests are open, so that many at once cannot overspend them."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from server.ledger.allowance import Budget
from server.ledger.budget_accounts import BudgetAccount
from server.ledger.budgets import Budgets
from server.ledger.errors import BudgetExceeded, LedgerUnavailable
from server.ledger.key_store import KeyStore
from server.ledger.keys import Key
from server.ledger.ledger import Ledger
from server.ledger.records import UsageRecord
from server.ledger.sqlite import FILE_NAME

pytestmark = pytest.mark.anyio

CAP = 100
"""The most one request here can cost, in micro-units and in tokens."""


def record(record_id: str, key_id: str, tokens: int = CAP, **fields: Any) -> UsageRecord:
    plain: dict[str, Any] = {
        "owner": "acme",
        "alias": "a",
        "weights": "w",
        "revision": None,
        "endpoint": "chat",
        "stream": True,
        "started_at": time.time(),
        "end": "ok",
        "completion_tokens": tokens,
        "price_output": 1_000_000,
    }
    return UsageRecord(record_id=record_id, key_id=key_id, **plain | fields)


@asynccontextmanager
async def budgeted(folder: Path, budget: Budget) -> AsyncIterator[tuple[Ledger, str]]:
    """A running ledger with one key that has `budget`."""
    ledger = Ledger.open(folder, node="n")
    with closing(ledger.open_books()) as books:
        key, _ = KeyStore(books).create(
            Key(key_id="", name="n", owner="acme", budget=budget, currency="NOK")
        )
    await ledger.start()
    try:
        yield ledger, key.key_id
    finally:
        await ledger.stop()


@pytest.mark.parametrize("kind", ["money", "tokens"])
async def test_two_hundred_at_once_overspend_by_at_most_one_requests_cap(
    tmp_path: Path, kind: Any
) -> None:
    budget = Budget(kind=kind, amount=10 * CAP - 50, period="month")
    async with budgeted(tmp_path, budget) as (ledger, key_id):
        done = []

        async def one(number: int) -> None:
            mine = record(f"r{number}", key_id)
            await ledger.begin(mine, reserve_micro=CAP, reserve_tokens=CAP)
            await ledger.opened(mine)
            await asyncio.sleep(0.01)
            await ledger.close_record(mine)
            done.append(mine)

        ends = await asyncio.gather(*(one(n) for n in range(200)), return_exceptions=True)
        assert len(done) == 10
        assert sum(isinstance(end, BudgetExceeded) for end in ends) == 190
        with pytest.raises(BudgetExceeded):
            await ledger.begin(record("late", key_id), reserve_micro=1, reserve_tokens=1)


async def test_what_was_reserved_and_not_used_is_room_again(tmp_path: Path) -> None:
    budget = Budget(kind="tokens", amount=CAP, period="day")
    async with budgeted(tmp_path, budget) as (ledger, key_id):
        for number in range(9):
            mine = record(f"r{number}", key_id, tokens=10)
            await ledger.begin(mine, reserve_tokens=CAP)
            with pytest.raises(BudgetExceeded, match="100 tokens a day"):
                await ledger.begin(record("other", key_id), reserve_tokens=CAP)
            await ledger.close_record(mine)
        await ledger.begin(record("last", key_id), reserve_tokens=CAP)


async def test_a_budget_remembers_what_was_spent_before_a_restart(tmp_path: Path) -> None:
    budget = Budget(kind="money", amount=250, period="total")
    async with budgeted(tmp_path, budget) as (ledger, key_id):
        await ledger.close_record(record("r1", key_id))
        await ledger.close_record(record("r2", key_id))
    again = Ledger.open(tmp_path, node="n")
    await again.start()
    three = record("r3", key_id)
    await again.begin(three, reserve_micro=CAP)
    await again.close_record(three)
    with pytest.raises(BudgetExceeded, match=r"0\.000250 NOK in total"):
        await again.begin(record("r4", key_id), reserve_micro=CAP)
    await again.stop()


async def test_a_budget_in_another_currency_than_the_prices_refuses_rather_than_never_counts(
    tmp_path: Path,
) -> None:
    budget = Budget(kind="money", amount=CAP, period="total")
    async with budgeted(tmp_path, budget) as (ledger, key_id):
        with pytest.raises(BudgetExceeded, match="in NOK and the prices here are in USD"):
            await ledger.begin(record("r1", key_id, currency="USD"), reserve_micro=1)


class Clock:
    """Time that is what it is told to be."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


NOVEMBER_30 = 1_796_083_140.0
"""2026-11-30 23:59:00 UTC"""


DAILY = Budget(kind="money", amount=99, period="day")


def key_with(budget: Budget | None, currency: str | None = None) -> Key:
    return Key(key_id="k", name="n", owner="o", budget=budget, currency=currency)


def test_a_new_period_begins_at_midnight_utc_with_nothing_spent() -> None:
    clock = Clock(NOVEMBER_30)
    budgets = Budgets("NOK", clock=clock)
    budgets.replace([key_with(Budget(kind="tokens", amount=CAP, period="month"))])
    budgets.spend(record("r", "k", started_at=NOVEMBER_30))
    with pytest.raises(BudgetExceeded, match="begins in 60 s"):
        budgets.reserve(record("a", "k", started_at=NOVEMBER_30), 0, 1)
    clock.now += 60
    budgets.reserve(record("b", "k", started_at=clock.now), 0, 1)
    budgets.spend(record("late", "k", started_at=NOVEMBER_30))  # belongs to November
    assert budgets.accounts["k"].spent == 0


def test_a_changed_amount_keeps_what_was_spent_and_a_changed_period_reads_it_anew() -> None:
    read: list[BudgetAccount] = []
    budgets = Budgets("NOK", read.append)
    budgets.replace([key_with(Budget(kind="tokens", amount=5, period="day"))])
    budgets.spend(record("r", "k", tokens=5))
    budgets.replace([key_with(Budget(kind="tokens", amount=9, period="day"))])
    assert (len(read), budgets.accounts["k"].spent) == (1, 5)
    budgets.replace([key_with(Budget(kind="tokens", amount=9, period="total"))])
    assert len(read) == 2


@pytest.mark.parametrize(
    ("first", "second", "held"),
    [
        (None, Budget(kind="tokens", amount=9, period="day"), 7),
        (None, Budget(kind="money", amount=9, period="day"), 50),
        (DAILY, Budget(kind="tokens", amount=9, period="day"), 7),
        (DAILY, Budget(kind="money", amount=9, period="month"), 50),
    ],
)
def test_what_open_requests_hold_is_carried_over_to_a_new_budget(
    first: Budget | None, second: Budget, held: int
) -> None:
    budgets = Budgets("NOK")
    budgets.replace([key_with(first)])
    running = budgets.reserve(record("r", "k"), 50, 7)
    budgets.replace([key_with(second)])
    assert budgets.accounts["k"].reserved == held
    budgets.replace([key_with(second, "EUR")])
    assert budgets.accounts["k"].reserved == (7 if second.kind == "tokens" else 0)
    budgets.release(running)
    assert budgets.accounts["k"].reserved == 0
    assert budgets.open == {}


def test_a_clock_that_jumped_and_came_back_opens_no_budget() -> None:
    clock, spent_before = Clock(NOVEMBER_30), {20_788: 0}  # the first of December: nothing yet

    def read(account: BudgetAccount) -> None:
        account.learned(account.reading, spent_before.get(account.start_day, CAP))

    budgets = Budgets("NOK", read, clock)
    budgets.replace([key_with(Budget(kind="tokens", amount=CAP, period="month"))])
    budgets.learn([("k", 20_780, "NOK", 0, 5), ("k", 20_788, "NOK", 0, 3)])
    with pytest.raises(BudgetExceeded):
        budgets.check("k", "NOK")
    clock.now += 86_400
    budgets.check("k", "NOK")
    assert budgets.accounts["k"].elsewhere == 3
    clock.now -= 86_400
    with pytest.raises(BudgetExceeded):
        budgets.check("k", "NOK")
    assert budgets.accounts["k"].elsewhere == 8


@pytest.mark.parametrize("turned", [False, True])
def test_a_charge_that_is_taken_back_counts_in_its_own_period_alone(turned: bool) -> None:
    clock = Clock(NOVEMBER_30)
    budgets = Budgets("NOK", clock=clock)
    budgets.replace([key_with(Budget(kind="money", amount=CAP, period="month"))])
    account = budgets.accounts["k"]
    [charge] = budgets.spend(record("r", "k", started_at=NOVEMBER_30, amount=40))
    clock.now += 60 if turned else 0
    budgets.check("k", "NOK")
    charge.correct(0)
    assert account.spent == 0
    [elsewhere] = budgets.spend(record("r", "k", started_at=clock.now, amount=40, currency="EUR"))
    elsewhere.correct(0)
    assert account.spent == 0


async def test_a_budget_that_is_read_while_requests_end_counts_each_once(tmp_path: Path) -> None:
    budget = Budget(kind="tokens", amount=10**6, period="total")
    async with budgeted(tmp_path, budget) as (ledger, key_id):
        account = ledger.budgets.accounts[key_id]
        writer = ledger.writer
        for number in range(40):
            await asyncio.gather(
                *(ledger.close_record(record(f"a{number}-{n}", key_id)) for n in "12")
            )
            closing_before = ledger.close_record(record(f"b{number}", key_id))
            ledger.budgets.read_anew(account)
            closing_after = ledger.close_record(record(f"c{number}", key_id))
            await asyncio.gather(closing_before, closing_after)
            await asyncio.wait_for(asyncio.wrap_future(writer.call(lambda connection: None)), 30)
            assert account.is_read
            assert account.spent == (number + 1) * 4 * CAP


async def refusal(ledger: Ledger, one: UsageRecord) -> Exception:
    """Why `one` may not begin."""
    await asyncio.sleep(0.01)
    with pytest.raises((BudgetExceeded, LedgerUnavailable)) as refused:
        await ledger.begin(one)
    return refused.value


async def test_a_budget_that_cannot_be_read_refuses_and_is_read_as_soon_as_it_can_be(
    tmp_path: Path,
) -> None:
    budget = Budget(kind="tokens", amount=CAP, period="total")
    async with budgeted(tmp_path, budget) as (ledger, key_id):
        await ledger.close_record(record("r", key_id))
        with closing(sqlite3.connect(tmp_path / FILE_NAME)) as other:
            other.execute("ALTER TABLE kinds RENAME TO away")
            ledger.budgets.read_anew(ledger.budgets.accounts[key_id])
            with pytest.raises(LedgerUnavailable, match="is being read"):
                await ledger.begin(record("early", key_id))
            other.execute("ALTER TABLE away RENAME TO kinds")
        end: Exception = LedgerUnavailable()
        async with asyncio.timeout(60):
            while isinstance(end, LedgerUnavailable):
                end = await refusal(ledger, record("more", key_id))
        assert isinstance(end, BudgetExceeded)


async def test_a_new_budgets_first_request_waits_for_what_was_spent_before(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path, node="n")
    await ledger.start()
    await ledger.close_record(record("r", "k"))
    ledger.budgets.replace([key_with(Budget(kind="tokens", amount=CAP, period="total"))])
    with pytest.raises(BudgetExceeded):
        await ledger.begin(record("more", "k"))
    await ledger.stop()


async def test_a_request_whose_keys_budget_is_being_read_waits_and_is_not_refused(
    tmp_path: Path,
) -> None:
    """As the first of every day or month: the new period is read."""
    ledger = Ledger.open(tmp_path, node="n")
    await ledger.start()
    await ledger.close_record(record("r", "k"))
    ledger.budgets.replace([key_with(Budget(kind="tokens", amount=CAP + 1, period="day"))])
    await ledger.check_budget("k", "NOK")
    account = ledger.budgets.accounts["k"]
    account.start_day -= 1  # as at midnight
    await ledger.check_budget("k", "NOK")
    assert account.spent == CAP
    account.budget = Budget(kind="tokens", amount=CAP, period="day")
    account.start_day -= 1
    with pytest.raises(BudgetExceeded):
        await ledger.check_budget("k", "NOK")
    await ledger.stop()
