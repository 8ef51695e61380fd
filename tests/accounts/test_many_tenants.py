"""A hundred owners with a thousand keys, two hundred requests at once near every budget and limit:
none is overspent by more than one request's cap, and each has spent what its records sum to."""

import asyncio
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.ledger.allowance import Budget
from server.ledger.database import Database, SqliteDatabase
from server.ledger.key_store import KeyStore
from server.ledger.keys import Key
from server.ledger.ledger import Ledger
from server.ledger.member_store import MemberStore
from server.ledger.owner_store import OwnerStore
from server.ledger.records import KeyLimits
from server.ledger.site_store import SiteStore
from server.ledger.sqlite import prepared_ledger
from server.ledger.tenants import MemberLevel, OwnerLevel, SiteLevel
from tests.accounts.test_budget_api import MANY, OUTPUT, body, cap_of_one
from tests.support.serving import Served, read_records, scripted, serving

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

OWNERS, KEYS_EACH, ROUNDS = 100, 10, 2
ONCE = KeyLimits(requests_per_minute=1, burst=0)
MICRO, TOKENS = 310, 35
"""More than a request can use."""


def budget(number: int, caps: float) -> Budget:
    """Of every second level money."""
    kind, cap = (("money", MICRO), ("tokens", TOKENS))[number % 2]
    return Budget(kind=kind, amount=int(caps * cap), period="month")  # type: ignore[arg-type]


def fill(books: Database) -> dict[str, str]:
    """A tree with budgets of a few requests each; the keys' texts -> their ids."""
    texts = {}
    with books.writing("keys"):
        for number in range(OWNERS):
            owner = OwnerLevel(
                owner_id="",
                name=f"owner-{number}",
                budget=budget(number, 6.5),
                currency="NOK",
                limits=KeyLimits(concurrent=4) if number % 5 == 0 else KeyLimits(),
            )
            OwnerStore(books).create(owner)
            member = MemberStore(books).create(
                MemberLevel(
                    member_id="", owner=owner.name, name="ada", budget=budget(number + 1, 3.5)
                )
            )
            for each in range(KEYS_EACH):
                key = Key(
                    key_id="",
                    name=f"key {each}",
                    owner=owner.name,
                    member_id=member.member_id if each < KEYS_EACH // 2 else None,
                    budget=budget(each, 1.2) if each % 3 == 0 else None,
                    limits=ONCE if each % 4 == 1 else KeyLimits(),
                )
                made, text = KeyStore(books).create(key)
                texts[text] = made.key_id
        site = SiteLevel(budget=Budget(kind="money", amount=450 * MICRO, period="month"))
        SiteStore(books).save(site)
    return texts


async def ask_all(server: Served, keys: list[str]) -> Counter[tuple[int, str]]:
    """Status and level of all answers. A client each: a pool of 200 connections takes its time."""
    ends: Counter[tuple[int, str]] = Counter()
    order = enumerate(key for n in range(ROUNDS) for key in keys[n:] + keys[:n])
    context = httpx.create_ssl_context()

    async def work() -> None:
        async with httpx.AsyncClient(base_url=server.url, verify=context, timeout=120) as http:
            for number, key in order:
                ends[await ask(http, number, key)] += 1

    await asyncio.gather(*(work() for _ in range(MANY)))
    return ends


async def ask(http: httpx.AsyncClient, number: int, key: str) -> tuple[int, str]:
    headers = {"X-API-Key": key}
    answer = await http.post("/v1/chat/completions", json=body(number), headers=headers)
    is_good = answer.status_code == 200
    return answer.status_code, "" if is_good else answer.json()["error"]["details"]["level"]


def used_of(records: list[dict[str, Any]], key_ids: set[str], kind: str) -> int:
    mine = [r for r in records if r["key_id"] in key_ids]
    if kind == "money":
        return sum(r["amount"] for r in mine)
    return sum(r["prompt_tokens"] + r["completion_tokens"] for r in mine)


async def test_none_is_overspent_and_all_sums_are_those_of_the_records(tmp_path: Path) -> None:
    with closing(SqliteDatabase(prepared_ledger(tmp_path))) as books:
        texts = fill(books)
    model = scripted("m", text="word " * (OUTPUT // 2), first_token_delay_s=0.02)
    with serving(tmp_path, model) as server:
        tokens, micro = await cap_of_one(server)
        assert (tokens, micro) <= (TOKENS, MICRO)
        ends = await ask_all(server, list(texts))
        found = {name: a.spent for name, a in server.services.ledger.budgets.accounts.items()}
        held = {account.reserved for account in server.services.ledger.budgets.accounts.values()}
    assert held == {0}
    assert sum(ends.values()) == ROUNDS * OWNERS * KEYS_EACH
    assert {level for _, level in ends} == {"", "key", "member", "owner", "site"}
    assert {status for status, _ in ends} == {200, 402, 429}
    records = read_records(tmp_path)
    again = Ledger.open(tmp_path, node="n")
    await again.start()
    accounts = again.budgets.accounts
    assert {name: account.spent for name, account in accounts.items()} == found
    with closing(again.open_books()) as books:
        keys = KeyStore(books).list()
    below: dict[str, set[str]] = {name: set() for name in accounts}
    for key in keys:
        for level in key.levels:
            below.get(level.level_id, set()).add(key.key_id)
    for name, account in accounts.items():
        kind = account.budget.kind
        assert account.spent == used_of(records, below[name], kind), name
        assert account.spent < account.budget.amount + (micro if kind == "money" else tokens), name
    assert len(accounts) == 1 + 2 * OWNERS + sum(key.budget is not None for key in keys)
    await again.stop()
