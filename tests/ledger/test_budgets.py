"""Budgets: counted while requests are open, so that many at once cannot overspend them."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from server.ledger.budgets import BudgetAccount, Budgets
from server.ledger.errors import BudgetExceeded
from server.ledger.key_store import KeyStore
from server.ledger.keys import Budget, Key
from server.ledger.ledger import Ledger
from server.ledger.records import UsageRecord

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


def test_a_new_period_begins_at_midnight_utc_with_nothing_spent() -> None:
    budgets = Budgets("NOK")
    budget = Budget(kind="tokens", amount=CAP, period="month")
    key = Key(key_id="k", name="n", owner="o", budget=budget)
    november_30 = 1_796_083_140.0  # 2026-11-30 23:59:00 UTC
    loaded: list[BudgetAccount] = []
    budgets.replace([key], november_30, loaded.append)
    assert len(loaded) == 1
    budgets.spend(record("r", "k", started_at=november_30))
    with pytest.raises(BudgetExceeded, match="begins in 60 s"):
        budgets.reserve(record("a", "k", started_at=november_30), 0, 1)
    december = record("b", "k", started_at=november_30 + 60)
    assert budgets.reserve(december, 0, 1) is not None
    budgets.spend(record("late", "k", started_at=november_30))  # belongs to November
    assert budgets.accounts["k"].spent == 0


def test_a_changed_amount_keeps_what_was_spent_and_a_changed_period_loads_it_anew() -> None:
    budgets = Budgets("NOK")
    loaded: list[BudgetAccount] = []

    def set_budget(budget: Budget) -> None:
        key = Key(key_id="k", name="n", owner="o", budget=budget)
        budgets.replace([key], time.time(), loaded.append)

    set_budget(Budget(kind="tokens", amount=5, period="day"))
    budgets.spend(record("r", "k", tokens=5))
    set_budget(Budget(kind="tokens", amount=9, period="day"))
    assert (len(loaded), budgets.accounts["k"].spent) == (1, 5)
    set_budget(Budget(kind="tokens", amount=9, period="total"))
    assert len(loaded) == 2
