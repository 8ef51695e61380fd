"""How far the ledger is behind, as /metrics tells it: its disk is busy, or its site is away."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from prometheus_client import CollectorRegistry

from server.ledger.backlog import Backlog, SiteBacklog, backlog_of
from server.ledger.ledger import Ledger
from server.ledger_metrics import LedgerMetrics
from tests.support.ledger_child import record
from tests.support.sites import new_site, postgres_server

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@asynccontextmanager
async def ledger_in(folder: Path, url: str | None = None) -> AsyncIterator[Ledger]:
    ledger = Ledger.open(folder, node="n", ledger_url=url)
    await ledger.start()
    try:
        yield ledger
    finally:
        await ledger.stop()


async def until(ledger: Ledger, condition: Callable[[Backlog], Any]) -> Backlog:
    """The first backlog of which it holds."""
    with anyio.fail_after(60):
        while not condition(found := backlog_of(ledger)):  # noqa: ASYNC110 - a thread's own figures
            await anyio.sleep(0.02)
    return found


def unshipped(found: Backlog) -> int:
    assert found.site is not None
    return found.site.unshipped


async def test_a_disk_that_is_busy_shows_as_lag_and_nothing_is_left_of_it(tmp_path: Path) -> None:
    async with ledger_in(tmp_path) as ledger:
        calm = backlog_of(ledger)
        assert (calm.queued, calm.lag_s, calm.committed_at) == (0, 0.0, None)
        await ledger.close_record(record("one"))
        committed_at = backlog_of(ledger).committed_at
        assert committed_at is not None
        with closing(sqlite3.connect(ledger.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            closing_two = ledger.close_record(record("two"))
            behind = await until(ledger, lambda found: found.is_refusing)
            assert behind.queued >= 1
            assert behind.lag_s > 0.5
            assert behind.committed_at == committed_at
            later = await until(ledger, lambda found: found.lag_s > behind.lag_s)
            assert later.is_refusing
            other.execute("ROLLBACK")
        await closing_two
        after = await until(ledger, lambda found: not found.is_refusing)
        assert (after.queued, after.lag_s) == (0, 0.0)
        assert after.committed_at is not None
        assert after.committed_at > committed_at


async def test_a_site_that_was_never_reached_has_no_contact_and_all_records_wait(
    tmp_path: Path,
) -> None:
    async with ledger_in(tmp_path, "postgresql://127.0.0.1:1/nobody") as ledger:
        for number in range(3):
            await ledger.close_record(record(f"r{number}"))
        found = await until(ledger, lambda found: unshipped(found) == 3)
        assert found.site == SiteBacklog(unshipped=3, set_aside=0, contact_at=None)


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with postgres_server() as running:
        yield running


async def test_what_a_site_lacks_is_told_until_it_is_shipped(tmp_path: Path, server: Any) -> None:
    async with ledger_in(tmp_path, new_site(server)) as ledger:
        for number in range(3):
            await ledger.close_record(record(f"r{number}"))

        def is_shipped(found: Backlog) -> bool:
            assert found.site is not None
            assert ledger.site is not None
            was_there = ledger.site.shipping.marked != [] and found.site.contact_at is not None
            return was_there and found.site.unshipped == 0

        reached = await until(ledger, is_shipped)
        assert reached.site is not None
        server.stop()
        for number in range(3, 5):
            await ledger.close_record(record(f"r{number}"))
        away = await until(ledger, unshipped)
        assert away.site is not None
        assert away.site.unshipped <= 2
        assert away.site.contact_at == pytest.approx(reached.site.contact_at, abs=60)
        server.start()
        await until(ledger, is_shipped)


def read(backlog: Backlog) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(LedgerMetrics(lambda: backlog))
    families = registry.collect()
    prefix = "fjord_ledger_"
    return {
        sample.name.removeprefix(prefix): sample.value
        for family in families
        for sample in family.samples
    }


def test_what_is_not_known_has_no_value() -> None:
    alone = Backlog(queued=2, lag_s=1.5, committed_at=None, is_refusing=True, site=None)
    assert read(alone) == {"queued_writes": 2, "lag_seconds": 1.5, "refusing": 1}
    site = SiteBacklog(unshipped=7, set_aside=1, contact_at=9.0)
    assert read(Backlog(queued=0, lag_s=0.0, committed_at=3.0, is_refusing=False, site=site)) == {
        "queued_writes": 0,
        "lag_seconds": 0,
        "refusing": 0,
        "last_commit_timestamp_seconds": 3,
        "unshipped_records": 7,
        "set_aside_records": 1,
        "site_contact_timestamp_seconds": 9,
    }
