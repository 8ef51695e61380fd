"""Nodes of a site on PostgreSQL: running, written to, with a key that may spend so much."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from server.accounts.auth import KeyRing
from server.ledger.allowance import Budget
from server.ledger.database import PostgresDatabase
from server.ledger.key_store import KeyStore
from server.ledger.keys import Key
from server.ledger.ledger import Ledger
from server.ledger.records import UsageRecord
from server.ledger.reports import Period, usage

NOW = datetime.now(UTC)
"""When everything is used: also where a test runs past midnight."""
TODAY = NOW.date()


@asynccontextmanager
async def node(folder: Path, url: str, **options: Any) -> AsyncIterator[tuple[Ledger, KeyRing]]:
    ledger, ring = Ledger.open(folder, node=folder.name, ledger_url=url, **options), KeyRing()
    await ledger.start(ring)
    try:
        yield ledger, ring
    finally:
        await ledger.stop()


@asynccontextmanager
async def two_nodes(folder: Path, url: str) -> AsyncIterator[tuple[Ledger, Ledger]]:
    async with node(folder / "n1", url) as (one, _), node(folder / "n2", url) as (two, _):
        yield one, two


async def until(is_true: Callable[[], bool], timeout_s: float = 15.0) -> float:
    """The seconds until `is_true`; fails when it does not become so."""
    began = time.monotonic()
    while not is_true():
        assert time.monotonic() - began < timeout_s
        await asyncio.sleep(0.01)
    return time.monotonic() - began


def record(record_id: str, key_id: str = "k") -> UsageRecord:
    return UsageRecord(
        record_id=record_id,
        key_id=key_id,
        owner="acme",
        alias="a",
        weights="w",
        revision=None,
        endpoint="chat",
        stream=True,
        started_at=NOW.timestamp(),
        end="ok",
        agent_id="agent \x00 smith",
        prompt_tokens=10,
        completion_tokens=5,
        price_input=1_000_000,
        price_output=1_000_000,
    )


async def write(ledger: Ledger, prefix: str, count: int) -> None:
    await asyncio.gather(*(ledger.close_record(record(f"{prefix}-{i}")) for i in range(count)))


def limited_key(site: PostgresDatabase, budget: Budget) -> str:
    """The id of a new key that may spend no more than this."""
    currency = "NOK" if budget.kind == "money" else None
    key = Key(key_id="", name="n", owner="acme", budget=budget, currency=currency)
    return KeyStore(site).create(key)[0].key_id


async def until_known(key_id: str, *nodes: Ledger) -> None:
    """Until every node counts what the key spends."""
    await until(lambda: all(key_id in node.budgets.accounts for node in nodes))


def arrived(site: PostgresDatabase) -> int:
    return int(site.query("SELECT count(*) FROM usage_records")[0][0])


def summed(site: PostgresDatabase) -> tuple[int, int]:
    lines = usage(site, Period(TODAY.replace(day=1), TODAY), ("month",))
    return sum(line["requests"] for line in lines), sum(line["amount"] for line in lines)
