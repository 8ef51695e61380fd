"""What each budgeted key has spent and reserved. Memory only, one event loop: nothing races.

A request is admitted while spent + reserved is below the budget, and reserves the most it can
cost; so a budget is overspent by at most one request's cap, however many come at once.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from server.ledger.errors import BudgetExceeded
from server.ledger.keys import Budget, Key
from server.ledger.money import money_text
from server.ledger.periods import day_of, period_end_s, period_start
from server.ledger.records import UsageRecord


@dataclass(slots=True)
class BudgetAccount:
    """One budgeted key in its current period, in the budget's unit."""

    key_id: str
    budget: Budget
    currency: str
    start_day: int
    spent: int = 0
    """By this node, in this period."""
    elsewhere: int = 0
    """Spent, or reserved by open requests, on the site's other nodes, as last known."""
    reserved: int = 0
    """By open requests."""

    @property
    def unit(self) -> str:
        return "tokens" if self.budget.kind == "tokens" else self.currency

    def used(self) -> int:
        return self.spent + self.elsewhere + self.reserved

    def turn(self, now: float) -> None:
        """Begin the next period when `now` is in it."""
        start_day = period_start(self.budget.period, now)
        if start_day > self.start_day:
            self.start_day, self.spent, self.elsewhere = start_day, 0, 0

    def cost_of(self, record: UsageRecord) -> int:
        if self.budget.kind == "tokens":
            return record.prompt_tokens + record.completion_tokens
        return record.amount if record.currency == self.currency else 0


class Budgets:
    """The accounts of all budgeted keys."""

    def __init__(self, currency: str) -> None:
        self.currency = currency
        self.accounts: dict[str, BudgetAccount] = {}

    def replace(
        self, keys: Iterable[Key], now: float, load: Callable[[BudgetAccount], None]
    ) -> None:
        """Take over `keys`; an account that is new or counts otherwise is handed to `load`, which
        adds what was spent before."""
        accounts: dict[str, BudgetAccount] = {}
        for key in keys:
            if key.budget is not None:
                accounts[key.key_id] = self.account(key, key.budget, now)
        new = [a for key_id, a in accounts.items() if self.accounts.get(key_id) is not a]
        self.accounts = accounts
        for account in new:
            load(account)

    def account(self, key: Key, budget: Budget, now: float) -> BudgetAccount:
        currency = key.currency or self.currency
        old = self.accounts.get(key.key_id)
        is_same = old is not None and old.currency == currency
        if old and is_same and (old.budget.kind, old.budget.period) == (budget.kind, budget.period):
            old.budget = budget
            return old
        return BudgetAccount(key.key_id, budget, currency, period_start(budget.period, now))

    def reserve(self, record: UsageRecord, micro: int, tokens: int) -> "Reservation | None":
        """Hold room for one request. Raises BudgetExceeded; None where the key has no budget."""
        account = self.accounts.get(record.key_id)
        if account is None:
            return None
        account.turn(record.started_at)
        if account.budget.kind == "money" and record.currency != account.currency:
            raise BudgetExceeded(
                f"The budget of this key is in {account.currency} and the prices here are in "
                f"{record.currency}; it needs a budget in {record.currency} or in tokens."
            )
        if account.used() >= account.budget.amount:
            raise BudgetExceeded(exhausted(account, record.started_at))
        held = micro if account.budget.kind == "money" else tokens
        account.reserved += held
        return Reservation(account, held)

    def spend(self, record: UsageRecord) -> None:
        account = self.accounts.get(record.key_id)
        if account is not None and day_of(record.started_at) >= account.start_day:
            account.spent += account.cost_of(record)

    def refund(self, record: UsageRecord, micro: int) -> None:
        """Take back what was charged for an answer that was not delivered."""
        account = self.accounts.get(record.key_id)
        if account is not None and account.budget.kind == "money":
            account.spent -= micro

    def reservations(self) -> dict[str, tuple[str, int]]:
        """Key -> unit, and what its open requests hold here. May be asked on any thread."""
        return {a.key_id: (a.unit, a.reserved) for a in self.accounts.values()}

    def learn(
        self, rows: Iterable[tuple[Any, ...]], reserved: Iterable[tuple[str, str, int]] = ()
    ) -> None:
        """Take over what the site's other nodes spent (key_id, day, currency, micro, tokens) and
        what their open requests hold (key_id, unit, amount)."""
        sums: dict[str, int] = {}
        for key_id, day, currency, micro, tokens in rows:
            account = self.accounts.get(key_id)
            if account is None or day < account.start_day:
                continue
            if account.budget.kind == "tokens":
                sums[key_id] = sums.get(key_id, 0) + tokens
            elif currency == account.currency:
                sums[key_id] = sums.get(key_id, 0) + micro
        for key_id, unit, held in reserved:
            account = self.accounts.get(key_id)
            if account is not None and unit == account.unit:
                sums[key_id] = sums.get(key_id, 0) + held
        for key_id, account in self.accounts.items():
            account.elsewhere = sums.get(key_id, 0)


@dataclass(slots=True)
class Reservation:
    """Room held by one open request; given back once."""

    account: BudgetAccount
    held: int

    def release(self) -> None:
        self.account.reserved -= self.held
        self.held = 0


def exhausted(account: BudgetAccount, now: float) -> str:
    budget = account.budget
    amount = (
        money_text(budget.amount, account.currency)
        if budget.kind == "money"
        else f"{budget.amount} tokens"
    )
    period = "in total" if budget.period == "total" else f"a {budget.period}"
    end_s = period_end_s(budget.period, now)
    until = "" if end_s is None else f" A new {budget.period} begins in {int(end_s - now)} s."
    return f"The budget of this key, {amount} {period}, is spent or reserved.{until}"
