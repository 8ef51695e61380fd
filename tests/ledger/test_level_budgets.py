"""Budgets of the levels above a key: each is counted while requests are open, over all its keys."""

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.ledger.budgets import Budgets
from server.ledger.errors import BudgetExceeded
from server.ledger.key_store import KeyStore
from server.ledger.ledger import Ledger
from server.ledger.member_store import MemberStore
from server.ledger.tenants import SiteLevel
from tests.ledger.test_budgets import CAP, record
from tests.support.level_child import CLOSED, OPEN
from tests.support.nodes import until
from tests.support.paths import ROOT, TESTS
from tests.support.tenants import (
    key_of,
    member_of,
    money,
    new_key,
    new_member,
    new_owner,
    owner_of,
    sums,
    tokens,
)

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("level", "words"),
    [
        ("member", "The budget of the member ada, 100 tokens in total, is spent or reserved."),
        ("owner", "The budget of the owner acme, 100 tokens in total, is spent or reserved."),
        ("site", "The budget of this site is spent or reserved."),
    ],
)
def test_a_spent_budget_says_whose_it_is_and_of_the_site_no_figure(level: str, words: str) -> None:
    said: dict[str, Any] = {level: {"budget": tokens(CAP)}}
    owner, member = owner_of(**said.get("owner", {})), member_of(**said.get("member", {}))
    site = SiteLevel(**said.get("site", {}))
    budgets = Budgets("NOK")
    budgets.replace([key_of(name, owner, member, site=site) for name in "ab"])
    budgets.spend(record("r", "a"))
    for key_id in "ab":
        with pytest.raises(BudgetExceeded) as refused:
            budgets.check(key_id, "NOK")
        assert (str(refused.value), refused.value.level) == (words, level)


def test_what_one_level_refuses_is_reserved_at_none() -> None:
    owner = owner_of(budget=tokens(1000))
    budgets = Budgets("NOK")
    budgets.replace([key_of("a", owner, budget=tokens(50)), key_of("b", owner)])
    held = budgets.reserve(record("r", "a"), 0, 60)
    for _ in range(3):
        with pytest.raises(BudgetExceeded):
            budgets.reserve(record("more", "a"), 0, 60)
    assert budgets.accounts["owner:acme"].reserved == 60
    budgets.release(held)
    assert {account.reserved for account in budgets.accounts.values()} == {0}


def test_a_budget_of_money_above_in_another_currency_refuses_rather_than_never_counts() -> None:
    owner = owner_of(budget=money(CAP), currency="EUR")
    budgets = Budgets("NOK")
    budgets.replace([key_of("a", owner, currency="NOK"), key_of("b", owner)])
    with pytest.raises(BudgetExceeded, match="The budget of the owner acme is in EUR and"):
        budgets.check("a", "NOK")
    budgets.check("b", "EUR")


def test_a_request_stays_its_owners_when_its_key_gets_another() -> None:
    one, other = owner_of("one", budget=tokens(1000)), owner_of("other", budget=tokens(1000))
    budgets = Budgets("NOK")
    budgets.replace([key_of("a", one), key_of("b", other), key_of("c", one)])
    running = budgets.reserve(record("r", "a", owner="one"), 0, 70)
    budgets.replace([key_of("a", other), key_of("b", other), key_of("c", one)])
    accounts = budgets.accounts
    assert (accounts["owner:one"].reserved, accounts["owner:other"].reserved) == (70, 0)
    budgets.release(running)
    budgets.spend(record("r", "a", owner="one"))
    assert (accounts["owner:one"].reserved, accounts["owner:one"].spent) == (0, CAP)
    assert accounts["owner:other"].spent == 0


def test_an_open_requests_room_is_held_by_a_budget_that_comes_above_it_meanwhile() -> None:
    budgets = Budgets("NOK")
    budgets.replace([key_of("a", owner_of())])
    running = budgets.reserve(record("r", "a"), 5, 70)
    member = member_of(budget=tokens(1000))
    budgets.replace([key_of("a", owner_of(budget=tokens(1000)), member)])
    assert {account.reserved for account in budgets.accounts.values()} == {70}
    budgets.release(running)
    assert {account.reserved for account in budgets.accounts.values()} == {0}


LEVELS = ("site", "owner", "member", "key")
KEYS = ("a", "b", "c", "d")
"""The first two are Ada's, the third is Bob's, the fourth nobody's of another owner."""
MICRO = st.integers(0, CAP)


class Levels:
    """Four keys under budgets of one amount a level, and what was used of each."""

    def __init__(self, amounts: dict[str, int], kind: Any) -> None:
        def said(level: str) -> dict[str, Any]:
            amount = amounts.get(level)
            if amount is None:
                return {}
            return {"budget": replace(tokens(amount), kind=kind), "currency": "NOK"}

        acme, other = owner_of(**said("owner")), owner_of("other", **said("owner"))
        ada, bob = (member_of(name, **said("member")) for name in ("ada", "bob"))
        self.places = {"a": (acme, ada), "b": (acme, ada), "c": (acme, bob), "d": (other, None)}
        self.keys = [
            key_of(name, owner, member, site=SiteLevel(**said("site")), **said("key"))
            for name, (owner, member) in self.places.items()
        ]
        self.kind, self.amounts = kind, amounts
        self.budgets = Budgets("NOK")
        self.budgets.replace(self.keys)
        self.used: Counter[str] = Counter()
        self.open: list[tuple[Any, Any]] = []

    def begin(self, key_id: str) -> None:
        one = record("r", key_id, owner=self.places[key_id][0].name)
        full = [level for level in LEVELS[::-1] if self.is_full(key_id, level)]
        if full:
            with pytest.raises(BudgetExceeded) as refused:
                self.budgets.reserve(one, CAP, CAP)
            assert refused.value.level == full[0]  # the nearest
        else:
            self.open.append((one, self.budgets.reserve(one, CAP, CAP)))

    def is_full(self, key_id: str, level: str) -> bool:
        [key] = (key for key in self.keys if key.key_id == key_id)
        name = next((each.level_id for each in key.levels if each.kind == level), None)
        if name is None or level not in self.amounts:
            return False
        held = sum(CAP for one, _ in self.open if name in self.names(one.key_id))
        return self.used[name] + held >= self.amounts[level]

    def names(self, key_id: str) -> list[str]:
        return [each.level_id for key in self.keys if key.key_id == key_id for each in key.levels]

    def end(self, number: int, cost: int) -> None:
        if not self.open:
            return
        one, held = self.open.pop(number % len(self.open))
        one.completion_tokens = one.amount = cost
        self.budgets.release(held)
        self.budgets.spend(one)
        for name in self.names(one.key_id):
            self.used[name] += cost

    def check(self) -> None:
        for name, account in self.budgets.accounts.items():
            assert account.spent == self.used[name]
            assert account.used() < account.budget.amount + CAP


@settings(max_examples=300, deadline=None)
@given(
    st.fixed_dictionaries({}, optional={name: st.integers(0, 6 * CAP) for name in LEVELS}),
    st.sampled_from(["tokens", "money"]),
    st.lists(
        st.one_of(
            st.tuples(st.just("begin"), st.sampled_from(KEYS)),
            st.tuples(st.just("end"), st.integers(0, 50), MICRO),
            st.tuples(st.just("keys")),
            st.tuples(st.just("key"), st.sampled_from(KEYS)),
        ),
        max_size=60,
    ),
)
def test_in_any_order_no_level_is_overspent_by_more_than_one_requests_cap(
    amounts: dict[str, int], kind: Any, steps: list[tuple[Any, ...]]
) -> None:
    levels = Levels(amounts, kind)
    for step, *rest in steps:
        match step:
            case "begin":
                levels.begin(*rest)
            case "end":
                levels.end(*rest)
            case "key":
                levels.budgets.change([k for k in levels.keys if k.key_id == rest[0]], frozenset())
            case _:
                levels.budgets.replace(levels.keys)
        levels.check()
    while levels.open:
        levels.end(0, 1)
    levels.check()
    assert {account.reserved for account in levels.budgets.accounts.values()} <= {0}


BUDGETS = st.sampled_from([None, tokens(1000), money(1000)])


def state(budgets: Budgets) -> dict[str, Any]:
    return {
        name: (one.budget, one.currency, one.reserved) for name, one in budgets.accounts.items()
    }


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_what_changes_alone_counts_as_if_all_were_read_anew(data: st.DataObject) -> None:
    """Keys that come, go, and stand elsewhere, and owners and members whose budget is another,
    while requests are open."""
    step, whole = Budgets("NOK"), Budgets("NOK")
    said: dict[str, Any] = dict.fromkeys(("acme", "other", "ada"))
    keys: dict[str, Any] = {}
    held: list[tuple[Any, Any]] = []
    for number in range(data.draw(st.integers(1, 12))):
        level = data.draw(st.sampled_from([None, *said]))
        if level is not None:
            said[level] = data.draw(BUDGETS)
        moved = data.draw(st.sets(st.sampled_from("abc"), max_size=2))
        gone = moved & keys.keys() if data.draw(st.booleans()) else set[str]()
        places = {k: (key.owner, key.member_id is not None) for k, key in keys.items()}
        for key_id in moved - gone:
            name = data.draw(st.sampled_from(["acme", "other"]))
            places[key_id] = name, name == "acme" and data.draw(st.booleans())
        owners = {name: owner_of(name, budget=said[name]) for name in ("acme", "other")}
        ada = member_of("ada", budget=said["ada"])
        keys = {
            key_id: key_of(key_id, owners[name], ada if is_hers else None)
            for key_id, (name, is_hers) in places.items()
            if key_id not in gone
        }
        below = {
            key_id
            for key_id, key in keys.items()
            if key_id in moved or level in (key.owner, "ada" if key.member_id else None)
        }
        step.change([keys[key_id] for key_id in below], frozenset(gone))
        whole.replace(keys.values())
        assert state(step) | state(whole) == state(step)
        used = {name for key in keys.values() for name in (each.level_id for each in key.levels)}
        assert used & state(step).keys() == used & state(whole).keys()
        is_more = data.draw(st.booleans())
        if keys and is_more:
            key = keys[data.draw(st.sampled_from(sorted(keys)))]
            one = record(f"r{number}", key.key_id, owner=key.owner)
            held.append((step.reserve(one, 1, 1), whole.reserve(one, 1, 1)))
        elif held:
            for each, reservation in zip((step, whole), held.pop(0), strict=True):
                each.release(reservation)
    for pair in held:
        for each, reservation in zip((step, whole), pair, strict=True):
            each.release(reservation)
    assert {one.reserved for one in step.accounts.values()} <= {0}


async def test_an_owner_has_spent_what_all_its_keys_have_also_revoked_ones(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path, node="n")
    with closing(ledger.open_books()) as books:
        new_owner(books, budget=money(10**9), currency="NOK")
        member = new_member(books, budget=tokens(10**9))
        first, second = (new_key(books, member_id=member.member_id) for _ in "12")
        other = new_key(books)
    await ledger.start()
    for number, key_id in enumerate([first, second, other, first]):
        await ledger.close_record(record(f"r{number}", key_id, tokens=7 + number))
    await ledger.close_record(record("other's", "k", owner="other"))
    with closing(ledger.open_books()) as books:
        KeyStore(books).revoke(first)
    await ledger.stop()
    again = Ledger.open(tmp_path, node="n")
    await again.start()
    accounts = again.budgets.accounts
    assert accounts["owner:acme"].spent == sums(again)["acme"][0] == 34
    assert accounts[f"member:{member.member_id}"].spent == 25
    await again.stop()


async def test_a_member_who_gets_a_key_has_spent_what_it_has(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path, node="n")
    with closing(ledger.open_books()) as books:
        member = new_member(books, owner=new_owner(books).name, budget=tokens(10**9))
        old, fresh = new_key(books), new_key(books, member_id=member.member_id)
    await ledger.start()
    name = f"member:{member.member_id}"
    await ledger.close_record(record("r1", old))
    await ledger.close_record(record("r2", fresh))
    assert ledger.budgets.accounts[name].spent == CAP
    running = record("r3", old)
    await ledger.begin(running, reserve_tokens=60)
    with closing(ledger.open_books()) as books:
        KeyStore(books).update(old, lambda key: replace(key, member_id="ada"))
    account = ledger.budgets.accounts[name]
    await until(lambda: (account.spent, account.reserved) == (2 * CAP, 60))
    await ledger.close_record(running)
    assert (account.spent, account.reserved) == (3 * CAP, 0)
    await ledger.stop()


async def test_two_hundred_at_once_over_ten_keys_overspend_their_owner_by_at_most_one_cap(
    tmp_path: Path,
) -> None:
    ledger = Ledger.open(tmp_path, node="n")
    with closing(ledger.open_books()) as books:
        new_owner(books, budget=money(10 * CAP - 50), currency="NOK")
        keys = [new_key(books) for _ in range(10)]
    await ledger.start()

    async def one(number: int) -> None:
        mine = record(f"r{number}", keys[number % 10])
        await ledger.begin(mine, reserve_micro=CAP, reserve_tokens=CAP)
        await ledger.opened(mine)
        await ledger.close_record(mine)

    ends = await asyncio.gather(*(one(n) for n in range(200)), return_exceptions=True)
    assert Counter(map(type, ends)) == {type(None): 10, BudgetExceeded: 190}
    assert sums(ledger)["acme"][0] == ledger.budgets.accounts["owner:acme"].spent == 10 * CAP
    await ledger.stop()


def run_and_kill(data_dir: Path) -> None:
    command = [sys.executable, str(TESTS / "support/level_child.py"), str(data_dir)]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "open\n"
        child.send_signal(signal.SIGKILL)


async def test_after_a_kill_each_level_has_spent_what_its_records_sum_to(tmp_path: Path) -> None:
    run_and_kill(tmp_path)
    ledger = Ledger.open(tmp_path, node="n")
    assert ledger.lost_count == OPEN
    await ledger.start()
    with closing(ledger.open_books()) as books:
        [member] = MemberStore(books).list()
    used = sums(ledger)["acme"][1]
    assert used == sum(3 + number for number in range(CLOSED + OPEN))
    for name in ("owner:acme", f"member:{member.member_id}"):
        account = ledger.budgets.accounts[name]
        assert (account.spent, account.reserved) == (used, 0)
    await ledger.stop()
