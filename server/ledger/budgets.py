"""What each budgeted key has spent and reserved. Memory only, one event loop: nothing races.

A request is admitted while spent + reserved is below the budget, and reserves the most it can
cost; so a budget is overspent by at most one request's cap, however many come at once. What was
spent is read from the ledger when a budget is new, counts otherwise, or its period changes, in
either direction: a clock may be set back. Until it is read the key's requests are refused.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from server.ledger.errors import BudgetExceeded, LedgerUnavailable
from server.ledger.keys import Budget, Key
from server.ledger.money import money_text
from server.ledger.periods import day_of, period_end_s, period_start
from server.ledger.records import UsageRecord


@dataclass(slots=True, eq=False)
class BudgetAccount:
    """One budgeted key in its current period, in the budget's unit."""

    key_id: str
    budget: Budget
    currency: str
    start_day: int
    spent: int = 0
    """By this node, in this period; what came before the last reading is missing until it is
    read."""
    elsewhere: int = 0
    """Spent, or reserved by open requests, on the site's other nodes, as last known."""
    reserved: int = 0
    """By open requests."""
    reading: int = 0
    """Counts how often `spent` was asked for anew."""
    is_read: bool = False

    @property
    def unit(self) -> str:
        return "tokens" if self.budget.kind == "tokens" else self.currency

    def used(self) -> int:
        return self.spent + self.elsewhere + self.reserved

    def learned(self, reading: int, spent: int) -> None:
        """The answer to a reading: all that was closed before it was asked for."""
        if reading == self.reading and not self.is_read:
            self.spent += spent
            self.is_read = True

    def counts(self, day: int, currency: str) -> bool:
        return day >= self.start_day and (self.budget.kind == "tokens" or currency == self.currency)

    def cost_of(self, record: UsageRecord) -> int:
        if not self.counts(day_of(record.started_at), record.currency):
            return 0
        if self.budget.kind == "tokens":
            return record.prompt_tokens + record.completion_tokens
        return record.amount


@dataclass(frozen=True, slots=True)
class Charge:
    """What one record added to an account; it is void once the account was read anew."""

    account: BudgetAccount
    reading: int
    cost: int

    def correct(self, cost: int) -> None:
        """It is `cost` in the end."""
        if self.account.reading == self.reading:
            self.account.spent += cost - self.cost


@dataclass(frozen=True, slots=True, eq=False)
class Reservation:
    """Room held by one open request, whether its key has a budget now or gets one meanwhile."""

    key_id: str
    currency: str
    micro: int
    tokens: int

    def held_in(self, account: BudgetAccount) -> int:
        if account.budget.kind == "tokens":
            return self.tokens
        return self.micro if self.currency == account.currency else 0


def never_read(account: BudgetAccount) -> None:
    """Budgets without a ledger behind them: nothing was spent before."""
    account.learned(account.reading, 0)


class Budgets:
    """The accounts of all budgeted keys. `read` asks for what an account's key has spent, and
    answers with `learned`, at once or later."""

    def __init__(
        self,
        currency: str,
        read: Callable[[BudgetAccount], None] = never_read,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.currency = currency
        self.read = read
        self.clock = clock
        self.accounts: dict[str, BudgetAccount] = {}
        self.open: dict[str, set[Reservation]] = {}
        """What open requests hold, by key; budgeted or not."""
        self.rows: dict[str, list[tuple[int, str, int, int]]] = {}
        """Key -> day, currency, micro, tokens: what the site's other nodes spent, ..."""
        self.held: dict[str, list[tuple[str, int]]] = {}
        """... and unit, amount: what their open requests hold."""

    def replace(self, keys: Iterable[Key]) -> None:
        """Take over `keys`; what is new or counts otherwise is read."""
        accounts: dict[str, BudgetAccount] = {}
        for key in keys:
            if key.budget is not None:
                accounts[key.key_id] = self.account(key, key.budget)
        new = [a for key_id, a in accounts.items() if self.accounts.get(key_id) is not a]
        self.accounts = accounts
        for account in new:
            account.reserved = sum(r.held_in(account) for r in self.open.get(account.key_id, ()))
            self.read_anew(account)

    def account(self, key: Key, budget: Budget) -> BudgetAccount:
        currency = key.currency or self.currency
        old = self.accounts.get(key.key_id)
        is_same = old is not None and old.currency == currency
        if old and is_same and (old.budget.kind, old.budget.period) == (budget.kind, budget.period):
            old.budget = budget
            return old
        start_day = period_start(budget.period, self.clock())
        return BudgetAccount(key.key_id, budget, currency, start_day)

    def read_anew(self, account: BudgetAccount) -> None:
        """What is closed from now on is added by `spend`, what was closed before by `learned`."""
        account.reading += 1
        account.spent, account.is_read = 0, False
        self.count_elsewhere(account)
        self.read(account)

    def read_all_anew(self) -> None:
        """The ledger has got records that no request of this process made."""
        for account in self.accounts.values():
            self.read_anew(account)

    def current(self, key_id: str) -> BudgetAccount | None:
        """The key's account, in the period that it is now."""
        account = self.accounts.get(key_id)
        if account is not None:
            start_day = period_start(account.budget.period, self.clock())
            if start_day != account.start_day:
                account.start_day = start_day
                self.read_anew(account)
        return account

    def check(self, key_id: str, currency: str) -> None:
        """Whether a request may begin. Raises BudgetExceeded, LedgerUnavailable."""
        account = self.current(key_id)
        if account is None:
            return
        if account.budget.kind == "money" and currency != account.currency:
            raise BudgetExceeded(
                f"The budget of this key is in {account.currency} and the prices here are in "
                f"{currency}; it needs a budget in {currency} or in tokens."
            )
        if not account.is_read:
            raise LedgerUnavailable("What this key has spent is being read; try again shortly.")
        if account.used() >= account.budget.amount:
            raise BudgetExceeded(exhausted(account, self.clock()))

    def reserve(self, record: UsageRecord, micro: int, tokens: int) -> Reservation:
        """Hold room for one request, to be released once. Raises as `check`."""
        self.check(record.key_id, record.currency)
        reservation = Reservation(record.key_id, record.currency, micro, tokens)
        self.open.setdefault(record.key_id, set()).add(reservation)
        account = self.accounts.get(record.key_id)
        if account is not None:
            account.reserved += reservation.held_in(account)
        return reservation

    def release(self, reservation: Reservation) -> None:
        key_id = reservation.key_id
        self.open[key_id].remove(reservation)
        if not self.open[key_id]:
            del self.open[key_id]
        account = self.accounts.get(key_id)
        if account is not None:
            account.reserved -= reservation.held_in(account)

    def spend(self, record: UsageRecord) -> Charge | None:
        account = self.accounts.get(record.key_id)
        if account is None:
            return None
        charge = Charge(account, account.reading, account.cost_of(record))
        account.spent += charge.cost
        return charge

    def reservations(self) -> dict[str, tuple[str, int]]:
        """Key -> unit, and what its open requests hold here. May be asked on any thread."""
        return {a.key_id: (a.unit, a.reserved) for a in self.accounts.values()}

    def learn(
        self, rows: Iterable[tuple[Any, ...]], reserved: Iterable[tuple[str, str, int]] = ()
    ) -> None:
        """Take over what the site's other nodes spent (key_id, day, currency, micro, tokens) and
        what their open requests hold (key_id, unit, amount)."""
        self.rows, self.held = {}, {}
        for key_id, day, currency, micro, tokens in rows:
            self.rows.setdefault(key_id, []).append((day, currency, micro, tokens))
        for key_id, unit, amount in reserved:
            self.held.setdefault(key_id, []).append((unit, amount))
        for account in self.accounts.values():
            self.count_elsewhere(account)

    def count_elsewhere(self, account: BudgetAccount) -> None:
        account.elsewhere = sum(
            tokens if account.budget.kind == "tokens" else micro
            for day, currency, micro, tokens in self.rows.get(account.key_id, ())
            if account.counts(day, currency)
        ) + sum(
            amount for unit, amount in self.held.get(account.key_id, ()) if unit == account.unit
        )


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
