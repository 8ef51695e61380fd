"""What each budgeted level has spent and reserved. Memory only, one event loop: nothing races.

A level is the site, an owner, a member or a key. A request is admitted while spent + reserved is
below the budget of each level above it, and reserves the most it can cost in all of them or in
none; so a budget is overspent by at most one request's cap, however many come at once. What was
spent is read from the ledger when a budget is new, counts otherwise, or its period changes, in
either direction: a clock may be set back. Until it is read the requests under it are refused.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Set
from typing import Any

from server.ledger.allowance import SITE, Allowance, level_id
from server.ledger.budget_accounts import (
    BudgetAccount,
    Charge,
    Reservation,
    exhausted,
    other_currency,
    subject,
)
from server.ledger.budget_plan import BudgetPlan
from server.ledger.errors import BudgetExceeded, LedgerUnavailable
from server.ledger.keys import Key
from server.ledger.levels import nearest
from server.ledger.periods import period_start
from server.ledger.records import UsageRecord


def never_read(account: BudgetAccount) -> None:
    """Budgets without a ledger behind them: nothing was spent before."""
    account.learned(account.reading, 0)


class Budgets:
    """The accounts of all budgeted levels. `read` asks for what an account's level has spent, and
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
        """By level."""
        self.places: dict[str, tuple[str, str | None]] = {}
        """Key -> its owner, its member."""
        self.chains: dict[tuple[str, str], tuple[BudgetAccount, ...]] = {}
        """Key and owner -> the accounts that its requests count in, as far as they were asked."""
        self.open: dict[str, set[Reservation]] = {}
        """What open requests hold, by key; budgeted or not."""
        self.rows: dict[str, list[tuple[int, str, int, int]]] = {}
        """Level -> day, currency, micro, tokens: what the site's other nodes spent, ..."""
        self.held: dict[str, list[tuple[str, int]]] = {}
        """... and unit, amount: what their open requests hold."""

    def replace(self, keys: Iterable[Key]) -> None:
        """Take over `keys` and what is above them; what is new or counts otherwise is read."""
        self.take(BudgetPlan(keys))

    def take(self, plan: BudgetPlan) -> dict[str, tuple[str, str | None]]:
        """As `replace`; the places that were."""
        accounts = {name: self.account(above[0], above) for name, above in plan.levels.items()}
        before, self.places = self.places, plan.places
        new = {a for name, a in accounts.items() if self.accounts.get(name) is not a}
        new |= joined(before, plan, accounts)
        self.accounts, self.chains = accounts, {}
        self.count_reserved()
        for account in new:
            self.read_anew(account)
        return before

    def change(self, keys: Collection[Key], gone: Set[str]) -> None:
        """Take over `keys` as they are now, without those of the ids `gone`; all others stay."""
        plan = BudgetPlan(keys)
        wanted = self.wanted(keys, plan, gone)
        changed = {name for name, one in wanted.items() if self.accounts.get(name) is not one}
        touched = [r for r in self.reserved() if self.counts_in(r, changed, plan, gone)]
        for reservation in touched:
            self.hold(reservation, -1)
        before = {key_id: self.places[key_id] for key_id in plan.places if key_id in self.places}
        self.put(plan, gone, wanted)
        for reservation in touched:
            self.hold(reservation, 1)
        new = {account for name in changed if (account := wanted[name]) is not None}
        for account in new | joined(before, plan, self.accounts):
            self.read_anew(account)

    def wanted(
        self, keys: Iterable[Key], plan: BudgetPlan, gone: Iterable[str]
    ) -> dict[str, BudgetAccount | None]:
        """The accounts of all levels of `keys`; None: it has no budget (any more)."""
        names = {level.level_id for key in keys for level in key.levels}
        found: dict[str, BudgetAccount | None] = dict.fromkeys([*names, *gone])
        return found | {n: self.account(above[0], above) for n, above in plan.levels.items()}

    def reserved(self) -> Iterator[Reservation]:
        return (one for held in self.open.values() for one in held)

    def counts_in(
        self, one: Reservation, changed: Set[str], plan: BudgetPlan, gone: Set[str]
    ) -> bool:
        """Whether it counts, before or afterwards, in an account that changed."""
        if one.key_id in plan.places or one.key_id in gone:
            return True
        return any(name in changed for name in self.names_of(one.key_id, one.owner))

    def put(
        self, plan: BudgetPlan, gone: Iterable[str], wanted: dict[str, BudgetAccount | None]
    ) -> None:
        self.places |= plan.places
        for key_id in gone:
            self.places.pop(key_id, None)
        for name, account in wanted.items():
            if account is None:
                self.accounts.pop(name, None)
            else:
                self.accounts[name] = account
        self.chains = {}

    def account(self, level: Allowance, levels: tuple[Allowance, ...]) -> BudgetAccount:
        """Of a budgeted level, the first of `levels`."""
        budget, name = level.budget, level.level_id
        assert budget is not None
        currency = nearest("currency", levels) or self.currency
        old = self.accounts.get(name)
        is_same = old is not None and old.currency == currency
        if old and is_same and (old.budget.kind, old.budget.period) == (budget.kind, budget.period):
            old.budget, old.title = budget, level.title
            return old
        return BudgetAccount(
            level_id=name,
            kind=level.kind,
            counted=level.counted,
            title=level.title,
            budget=budget,
            currency=currency,
            start_day=period_start(budget.period, self.clock()),
        )

    def count_reserved(self) -> None:
        for account in self.accounts.values():
            account.reserved = 0
        for reservations in self.open.values():
            for reservation in reservations:
                self.hold(reservation, 1)

    def hold(self, reservation: Reservation, sign: int) -> None:
        for account in self.chain(reservation.key_id, reservation.owner):
            account.reserved += sign * account.held_by(reservation)

    def chain(self, key_id: str, owner: str) -> tuple[BudgetAccount, ...]:
        """The accounts that a request of the key counts in, the nearest first. An open request
        stays its owner's when the key gets another."""
        found = self.chains.get((key_id, owner))
        if found is None:
            found = self.chains[key_id, owner] = self.found_chain(key_id, owner)
        return found

    def found_chain(self, key_id: str, owner: str) -> tuple[BudgetAccount, ...]:
        names = self.names_of(key_id, owner)
        return tuple(self.accounts[name] for name in names if name in self.accounts)

    def names_of(self, key_id: str, owner: str) -> tuple[str, ...]:
        """Of all levels that a request of the key counts at, the nearest first."""
        _, member = self.places.get(key_id, ("", None))
        of_member = () if member is None else (level_id("member", member),)
        return key_id, *of_member, level_id("owner", owner), SITE

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

    def current(self, key_id: str, owner: str | None = None) -> tuple[BudgetAccount, ...]:
        """The accounts of the key, each in the period that it is now. `owner` None: the key's."""
        chain = self.chain(key_id, self.owner_of(key_id) if owner is None else owner)
        if chain:
            now = self.clock()
            for account in chain:
                start_day = period_start(account.budget.period, now)
                if start_day != account.start_day:
                    account.start_day = start_day
                    self.read_anew(account)
        return chain

    def owner_of(self, key_id: str) -> str:
        return self.places.get(key_id, ("", None))[0]

    def check(self, key_id: str, currency: str, owner: str | None = None) -> None:
        """Whether a request may begin. Raises BudgetExceeded, LedgerUnavailable."""
        for account in self.current(key_id, owner):
            self.check_account(account, currency)

    def check_account(self, account: BudgetAccount, currency: str) -> None:
        budget = account.budget
        if budget.kind == "money" and currency != account.currency:
            raise BudgetExceeded(other_currency(account, currency), account.kind)
        if not account.is_read:
            words = f"What {subject(account)} has spent is being read; try again shortly."
            raise LedgerUnavailable(words)
        if account.used() >= budget.amount:
            raise BudgetExceeded(exhausted(account, self.clock()), account.kind)

    def reserve(self, record: UsageRecord, micro: int, tokens: int) -> Reservation:
        """Hold room for one request at every level, to be released once. Raises as `check`."""
        key_id, owner, currency = record.key_id, record.owner, record.currency
        self.check(key_id, currency, owner)
        reservation = Reservation(key_id, owner, currency, micro, tokens)
        self.open.setdefault(key_id, set()).add(reservation)
        self.hold(reservation, 1)
        return reservation

    def release(self, reservation: Reservation) -> None:
        key_id = reservation.key_id
        self.open[key_id].remove(reservation)
        if not self.open[key_id]:
            del self.open[key_id]
        self.hold(reservation, -1)

    def spend(self, record: UsageRecord) -> list[Charge]:
        """What it added, account by account."""
        return [
            self.charged(account, record) for account in self.chain(record.key_id, record.owner)
        ]

    def charged(self, account: BudgetAccount, record: UsageRecord) -> Charge:
        charge = Charge(account, account.reading, account.cost_of(record))
        account.spent += charge.cost
        return charge

    def reservations(self) -> dict[str, tuple[str, int]]:
        """Level -> unit, and what its open requests hold here. May be asked on any thread."""
        return {a.level_id: (a.unit, a.reserved) for a in self.accounts.values()}

    def learn(
        self, rows: Iterable[tuple[Any, ...]], reserved: Iterable[tuple[str, str, int]] = ()
    ) -> None:
        """Take over what the site's other nodes spent (level, day, currency, micro, tokens) and
        what their open requests hold (level, unit, amount)."""
        self.rows, self.held = {}, {}
        for name, day, currency, micro, tokens in rows:
            self.rows.setdefault(name, []).append((day, currency, micro, tokens))
        for name, unit, amount in reserved:
            self.held.setdefault(name, []).append((unit, amount))
        for account in self.accounts.values():
            self.count_elsewhere(account)

    def count_elsewhere(self, account: BudgetAccount) -> None:
        account.elsewhere = sum(
            tokens if account.budget.kind == "tokens" else micro
            for day, currency, micro, tokens in self.rows.get(account.level_id, ())
            if account.counts(day, currency)
        ) + sum(
            amount for unit, amount in self.held.get(account.level_id, ()) if unit == account.unit
        )


def joined(
    before: Mapping[str, tuple[str, str | None]],
    plan: BudgetPlan,
    accounts: Mapping[str, BudgetAccount],
) -> set[BudgetAccount]:
    """Of members who have got a key that was there already, with all that it has spent."""
    names = {
        level_id("member", member)
        for key_id, member in plan.members.items()
        if key_id in before and before[key_id][1] != member
    }
    return {accounts[name] for name in names if name in accounts}
