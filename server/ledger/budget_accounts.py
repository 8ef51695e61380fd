"""What one budgeted level has spent and reserved, in the period that it is now."""

import asyncio
from dataclasses import dataclass

from server.ledger.allowance import Budget
from server.ledger.errors import LedgerError, LedgerUnavailable
from server.ledger.money import money_text
from server.ledger.periods import day_of, period_end_s
from server.ledger.records import LevelKind, UsageRecord


@dataclass(slots=True, eq=False)
class BudgetAccount:
    """One budgeted level in its current period, in the budget's unit."""

    level_id: str
    kind: LevelKind
    counted: str
    """What its records are found by (`Allowance.counted`)."""
    title: str
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

    def held_by(self, reservation: "Reservation") -> int:
        if self.budget.kind == "tokens":
            return reservation.tokens
        return reservation.micro if reservation.currency == self.currency else 0


@dataclass(slots=True, eq=False)
class Reservation:
    """Room held by one open request, whether a level of its has a budget now or gets one
    meanwhile."""

    key_id: str
    owner: str
    currency: str
    micro: int
    tokens: int


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


def correct_charges(
    record: UsageRecord, charges: list[Charge], closed: "asyncio.Future[None]"
) -> None:
    """What is not charged in the end may be spent again."""
    if closed.cancelled() or (error := closed.exception()) is None:
        return
    for charge in charges:
        match error:
            case LedgerUnavailable():
                charge.correct(charge.account.cost_of(record))
            case LedgerError():  # it has no record
                charge.correct(0)


def subject(account: BudgetAccount) -> str:
    """Its title within a sentence."""
    return f"{account.title[0].lower()}{account.title[1:]}"


def other_currency(account: BudgetAccount, currency: str) -> str:
    return (
        f"The budget of {subject(account)} is in {account.currency} and the prices here are in "
        f"{currency}; it needs a budget in {currency} or in tokens."
    )


def exhausted(account: BudgetAccount, now: float) -> str:
    """The site's figures are nobody's business but its operators'."""
    period = account.budget.period
    end_s = period_end_s(period, now)
    until = "" if end_s is None else f" A new {period} begins in {int(end_s - now)} s."
    amount = "" if account.kind == "site" else f", {amount_text(account)},"
    return f"The budget of {subject(account)}{amount} is spent or reserved.{until}"


def amount_text(account: BudgetAccount) -> str:
    """`500.000000 NOK a month`"""
    budget = account.budget
    money = budget.kind == "money"
    amount = money_text(budget.amount, account.currency) if money else f"{budget.amount} tokens"
    return f"{amount} in total" if budget.period == "total" else f"{amount} a {budget.period}"
