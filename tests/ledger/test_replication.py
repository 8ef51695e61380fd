"""A site of several nodes on a real PostgreSQL: shared keys and budgets, records exactly once."""

import asyncio
import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks.old_ledgers import ddl
from server.accounts.auth import AuthFailed, KeyRing
from server.cli import keys as keys_cli
from server.ledger import postgres
from server.ledger.allowance import Budget
from server.ledger.audit import entries
from server.ledger.database import PostgresDatabase
from server.ledger.errors import BudgetExceeded, LedgerUnavailable
from server.ledger.invoicing import drafts
from server.ledger.key_store import KeyStore
from server.ledger.keys import Key
from server.ledger.ledger import Ledger
from server.ledger.meta import remembered
from server.ledger.reports import Period, records
from server.ledger.retention import prune
from server.ledger.schema import HEAD
from server.ledger.sqlite import FILE_NAME
from tests.support.invoicing import add, used
from tests.support.nodes import (
    TODAY,
    arrived,
    limited_key,
    node,
    record,
    summed,
    two_nodes,
    until,
    until_known,
    write,
)
from tests.support.sites import new_site, postgres_server

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with postgres_server() as running:
        yield running


@pytest.fixture
def site_url(server: Any) -> str:
    return new_site(server)


@pytest.fixture
def site(site_url: str) -> Iterator[PostgresDatabase]:
    database = postgres.open_database(site_url)
    yield database
    database.close()


async def test_two_nodes_ship_every_record_and_the_sums_agree(
    tmp_path: Path, site_url: str, site: PostgresDatabase
) -> None:
    async with two_nodes(tmp_path, site_url) as (one, two):
        await asyncio.gather(write(one, "a", 1500), write(two, "b", 700))
        await until(lambda: arrived(site) == 2200)
    assert summed(site) == (2200, 2200 * 15)
    listed = list(records(site, Period(TODAY, TODAY)))
    assert len({line["record_id"] for line in listed}) == 2200
    assert {line["agent_id"] for line in listed} == {"agent \ufffd smith"}


async def test_records_shipped_again_in_doubt_count_once(
    tmp_path: Path, site_url: str, site: PostgresDatabase
) -> None:
    async with node(tmp_path / "n1", site_url) as (ledger, _):
        await write(ledger, "a", 10)
        await until(lambda: arrived(site) == 10)
    with closing(sqlite3.connect(tmp_path / "n1" / FILE_NAME)) as local, local:
        local.execute("UPDATE meta SET value = '3' WHERE name = 'shipped_seq'")
    async with node(tmp_path / "n1", site_url) as (ledger, _):
        await write(ledger, "b", 1)
        await until(lambda: arrived(site) == 11)
    assert summed(site) == (11, 11 * 15)


@pytest.mark.alone
async def test_a_key_of_the_site_counts_on_its_nodes_within_two_seconds_and_so_does_its_end(
    tmp_path: Path, site_url: str, site: PostgresDatabase
) -> None:
    async with node(tmp_path / "n1", site_url) as (_, ring):
        store = KeyStore(site)
        key, text = store.create(Key(key_id="", name="n", owner="acme"))
        assert await until(lambda: bool(ring.by_hash)) < 2
        assert ring.find(text).owner == "acme"
        store.revoke(key.key_id)
        assert await until(lambda: is_refused(ring, text)) < 2


def is_refused(ring: KeyRing, text: str) -> bool:
    try:
        ring.find(text)
    except AuthFailed:
        return True
    return False


async def test_a_node_brings_its_keys_when_it_joins_a_site(
    tmp_path: Path, site_url: str, site: PostgresDatabase
) -> None:
    alone = Ledger.open(tmp_path / "n1", node="n1")
    alone.lock.release()
    with closing(alone.open_books()) as books:
        key, _ = KeyStore(books).create(Key(key_id="", name="before", owner="acme"))
    async with node(tmp_path / "n1", site_url):
        await until(lambda: [k.key_id for k in KeyStore(site).list()] == [key.key_id])
    noted = [(e.action, e.target) for e in entries(site)]
    assert noted == [("owner.create", "acme"), ("key.create", key.key_id)]
    assert all("node that joins" in e.actor for e in entries(site))
    own = ["--data-dir", str(tmp_path / "n1")]
    assert CliRunner().invoke(keys_cli.app, ["revoke", key.key_id, "--yes", *own]).exit_code == 2
    assert KeyStore(site).get(key.key_id).revoked_at is None


async def test_a_node_serves_on_while_the_site_is_down_and_catches_up(
    tmp_path: Path, server: Any, site_url: str
) -> None:
    with closing(postgres.open_database(site_url)) as site:
        _, text = KeyStore(site).create(Key(key_id="", name="n", owner="acme"))
    async with node(tmp_path / "n1", site_url) as (ledger, ring):
        await until(lambda: bool(ring.by_hash))
        server.stop()
        await until(lambda: ledger.site is not None and ledger.site.trouble is not None)
        await write(ledger, "while-down", 50)
        assert ring.find(text).owner == "acme"
        assert ledger.health() is None
    async with node(tmp_path / "n1", site_url) as (ledger, ring):
        assert ring.find(text).owner == "acme"  # known across a restart
        server.start()
        with closing(postgres.open_database(site_url)) as site:
            await until(lambda: arrived(site) == 50)
            assert summed(site) == (50, 50 * 15)


async def test_a_node_whose_site_was_away_too_long_refuses_new_work(
    tmp_path: Path, server: Any, site_url: str
) -> None:
    async with node(tmp_path / "n1", site_url, stale_s=1.0) as (ledger, _):
        await until(lambda: ledger.health() is None)
        server.stop()
        try:
            await until(lambda: ledger.health() is not None)
            assert "not reached for" in (ledger.health() or "")
            with pytest.raises(LedgerUnavailable, match="not reached"):
                await ledger.begin(record("r"))
        finally:
            server.start()
        await until(lambda: ledger.health() is None)


async def test_a_budget_counts_what_the_other_nodes_spent(
    tmp_path: Path, site_url: str, site: PostgresDatabase
) -> None:
    key_id = limited_key(site, Budget(kind="money", amount=300, period="total"))
    async with two_nodes(tmp_path, site_url) as (one, two):
        await until_known(key_id, one, two)
        for number in range(20):
            await one.close_record(record(f"r{number}", key_id))
        await until(lambda: two.budgets.accounts[key_id].elsewhere == 300)
        with pytest.raises(BudgetExceeded):
            await two.begin(record("more", key_id), reserve_micro=15)
    async with node(tmp_path / "n2", site_url) as (two, _):
        await until(lambda: two.budgets.accounts[key_id].elsewhere == 300)
        richer = Budget(kind="money", amount=301, period="total")
        KeyStore(site).update(key_id, lambda old: replace(old, budget=richer))
        await until(lambda: two.budgets.accounts[key_id].budget.amount == 301)
        await two.begin(record("more", key_id), reserve_micro=15)


@pytest.mark.alone
async def test_a_budget_counts_what_the_other_nodes_open_requests_may_cost(
    tmp_path: Path, site_url: str, site: PostgresDatabase
) -> None:
    key_id = limited_key(site, Budget(kind="money", amount=300, period="total"))
    async with two_nodes(tmp_path, site_url) as (one, two):
        await until_known(key_id, one, two)
        there = two.budgets.accounts[key_id]
        running = record("running", key_id)
        await one.begin(running, reserve_micro=300)
        assert await until(lambda: there.elsewhere == 300) < 3
        with pytest.raises(BudgetExceeded):
            await two.begin(record("more", key_id), reserve_micro=15)
        await one.close_record(running)
        await until(lambda: there.elsewhere == 15)
        await two.begin(record("more", key_id), reserve_micro=15)
        await one.begin(record("other", key_id), reserve_micro=100)
        await until(lambda: there.elsewhere == 115)


async def test_a_node_that_died_and_is_back_holds_nothing_of_its_former_life(
    tmp_path: Path, site_url: str, site: PostgresDatabase
) -> None:
    key_id = limited_key(site, Budget(kind="tokens", amount=300, period="day"))

    def held() -> list[Any]:
        return [row[0] for row in site.query("SELECT reserved FROM reservations")]

    async with node(tmp_path / "n1", site_url) as (one, _):
        await until_known(key_id, one)
        await one.begin(record("never ended", key_id), reserve_tokens=40)
        await until(lambda: held() == [40])
    async with node(tmp_path / "n1", site_url):
        await until(lambda: held() in ([], [0]))


async def test_a_site_of_the_schema_before_is_migrated(server: Any) -> None:
    url = new_site(server)
    with closing(PostgresDatabase(postgres.connect(url))) as old:
        old.execute("DROP SCHEMA public CASCADE")
        old.execute("CREATE SCHEMA public")
        old.execute(ddl("0001", "postgresql"))
        add(old, used("2020-01"))
    with closing(postgres.open_database(url)) as site:
        assert site.query("SELECT count(*) FROM reservations") == [(0,)]
        assert site.query("SELECT version_num FROM alembic_version") == [(HEAD,)]
        this_month = datetime.now(UTC).date().isoformat()[:7]
        assert remembered(site, "invoiced_from") == this_month
        assert drafts(site, "acme", this_month, None) == []


async def test_what_a_dead_node_had_reserved_is_free_again_after_a_minute(
    tmp_path: Path, site_url: str, site: PostgresDatabase
) -> None:
    key_id = limited_key(site, Budget(kind="tokens", amount=300, period="day"))
    tell = "INSERT INTO reservations VALUES (?, ?, 'tokens', ?, now() - interval '1 second' * ?)"
    site.execute(tell, ("living", key_id, 7, 30))
    site.execute(tell, ("dead", key_id, 300, 61))
    async with node(tmp_path / "n1", site_url) as (one, _):
        await until_known(key_id, one)
        await until(lambda: one.budgets.accounts[key_id].elsewhere == 7)


async def test_pruning_a_node_keeps_what_its_site_does_not_have_yet(
    tmp_path: Path, server: Any, site_url: str, site: PostgresDatabase
) -> None:
    tomorrow = datetime.fromtimestamp(time.time() + 86_400, UTC).date()
    async with node(tmp_path / "n1", site_url) as (ledger, _):
        await write(ledger, "a", 5)
        await until(lambda: arrived(site) == 5)
        assert ledger.site is not None
        shipping = ledger.site.shipping
        await until(lambda: shipping.shipped_seq == 5)
    alone = Ledger.open(tmp_path / "n1", node="n1")
    await alone.start()
    await write(alone, "b", 3)
    await alone.stop()
    with closing(alone.open_books()) as books:
        assert prune(books, tomorrow) == 5
        assert prune(books, tomorrow) == 0
    async with node(tmp_path / "n1", site_url):
        await until(lambda: arrived(site) == 8)


@pytest.mark.slow
async def test_connections_cut_at_random_lose_and_double_nothing(
    tmp_path: Path, site_url: str, site: PostgresDatabase
) -> None:
    chance = random.Random(4)
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    async with node(tmp_path / "n1", site_url) as (ledger, _):
        for number in range(30):
            await write(ledger, f"r{number}", chance.randrange(1, 300))
            site.query(cut + " AND datname = current_database()")
            await asyncio.sleep(chance.random() / 5)
        with closing(ledger.open_books()):
            pass
        written = sqlite3.connect(tmp_path / "n1" / FILE_NAME)
        with closing(written):
            (count,) = written.execute("SELECT count(*) FROM records").fetchone()
        await until(lambda: arrived(site) == count, timeout_s=60)
        assert summed(site) == (count, count * 15)
