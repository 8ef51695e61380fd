"""A node's records reach its site once each, whatever fails on the way."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from server.cli.ship import app
from server.ledger import postgres, sqlite
from server.ledger.budgets import Budgets
from server.ledger.database import PostgresDatabase, SqliteDatabase
from server.ledger.meta import remember, remembered
from server.ledger.replication import SiteReplication
from server.ledger.reports import Only, usage
from server.ledger.retention import prune
from tests.support.serving import wait_until
from tests.support.shipping import (
    ALL,
    TABLES,
    FaultySite,
    Node,
    open_faulty,
    record,
    restore,
    too_long,
    url_of,
)
from tests.support.sites import new_site, postgres_server

pytestmark = pytest.mark.slow
CALLS = 16
"""What two turns with records make at the site."""


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with postgres_server() as running:
        yield running


@pytest.fixture(scope="module")
def database(server: Any) -> Iterator[PostgresDatabase]:
    with closing(postgres.open_database(new_site(server))) as opened:
        yield opened


@pytest.fixture
def site(database: PostgresDatabase) -> PostgresDatabase:
    """A site without records."""
    for name in TABLES:
        database.execute(f"DELETE FROM {name}")
    return database


@pytest.fixture
def node(tmp_path: Path, site: PostgresDatabase) -> Iterator[Node]:
    with closing(Node(tmp_path, url_of(site))) as one:
        yield one


def check(site: PostgresDatabase, *numbers: int) -> None:
    """The site has exactly these, each with its own customer, in the records and in the sums."""
    found = site.query("SELECT record_id, owner, amount FROM usage_records ORDER BY record_id")
    assert found == [(f"r{n:04d}", f"owner-{n}", n) for n in sorted(numbers)]
    sums = {
        line["owner"]: (line["requests"], line["amount"]) for line in usage(site, ALL, ["owner"])
    }
    assert sums == {f"owner-{n}": (1, n) for n in numbers}


def test_a_database_that_names_no_encoding_takes_what_others_take(
    tmp_path: Path, server: Any
) -> None:
    url = new_site(server, "SQL_ASCII")
    with closing(postgres.open_database(url)) as site, closing(Node(tmp_path, url)) as node:
        node.write(record(1))
        node.turns(2)
        check(site, 1)
        assert site.query("SELECT ?, count(*) FROM usage_records", ("Ås 🌧",)) == [("Ås 🌧", 1)]


@pytest.mark.parametrize("fails_after", [False, True])
@pytest.mark.parametrize("fails_at", range(1, CALLS + 1))
def test_a_connection_that_breaks_at_any_call_loses_and_doubles_nothing(
    tmp_path: Path, site: PostgresDatabase, fails_at: int, fails_after: bool
) -> None:
    with closing(Node(tmp_path, url_of(site), open_faulty)) as node:
        FaultySite.calls, FaultySite.fails_at, FaultySite.fails_after = 0, fails_at, fails_after
        node.write(*(record(n) for n in range(5)))
        node.turns(2)
        node.write(*(record(n) for n in range(5, 8)))
        node.turns(4)
        assert FaultySite.calls > fails_at
    check(site, *range(8))


def test_a_record_that_the_site_refuses_is_set_aside_and_those_behind_it_are_shipped(
    site: PostgresDatabase, node: Node
) -> None:
    node.write(*(record(n) for n in range(7)), too_long(7), *(record(n) for n in range(8, 20)))
    node.turns(2)
    check(site, *(n for n in range(20) if n != 7))
    assert node.replication.set_aside == 1
    assert node.replication.trouble is None
    node.write(record(20))
    node.turns(1)
    with closing(SqliteDatabase(node.path)) as local:
        assert prune(local, ALL.last) == 20
        assert local.query("SELECT record_id FROM records") == [("r0007",)]


def test_what_was_set_aside_is_shipped_when_it_is_asked_for(
    site: PostgresDatabase, node: Node
) -> None:
    node.write(too_long(1), record(2), too_long(3))
    node.turns(1)
    assert node.replication.set_aside == 2
    ask_again(node)
    node.turns(1)
    assert node.replication.set_aside == 2  # still refused, and the node goes on
    with closing(SqliteDatabase(node.path)) as local:
        local.execute("UPDATE words SET word = 'short' || id WHERE length(word) > 99")
    node.turns(1)
    check(site, 2)
    ask_again(node)
    node.turns(1)
    assert node.replication.set_aside == 0
    check(site, 1, 2, 3)


def ask_again(node: Node) -> None:
    done = CliRunner().invoke(app, ["--retry", "--data-dir", str(node.folder)])
    assert "2 records" in done.stdout


def test_a_site_that_comes_back_from_an_older_backup_gets_what_it_lacks(
    site: PostgresDatabase, node: Node
) -> None:
    node.write(*(record(n) for n in range(3)))
    node.turns(1)
    saved = [(name, site.query(f"SELECT * FROM {name}")) for name in TABLES]
    node.write(*(record(n) for n in range(3, 6)))
    node.turns(1)
    for name, rows in saved:
        restore(site, name, rows)
    check(site, 0, 1, 2)
    node.replication.disconnect()
    node.turns(2)
    check(site, *range(6))
    for name in TABLES:
        restore(site, name, [])
    node.replication.disconnect()
    node.turns(2)
    check(site, *range(6))


@pytest.mark.parametrize("kept", [0, 3])
@pytest.mark.parametrize("is_idle", [False, True])
def test_a_site_that_is_restored_beneath_an_open_connection_gets_what_it_lacks(
    site: PostgresDatabase, node: Node, kept: int, is_idle: bool
) -> None:
    node.write(*(record(n) for n in range(kept)))
    node.turns(1)
    saved = [(name, site.query(f"SELECT * FROM {name}")) for name in TABLES]
    node.write(*(record(n) for n in range(kept, 6)))
    node.turns(1)
    for name, rows in saved:
        restore(site, name, rows)
    if not is_idle:
        node.write(record(6))
    node.turns(3)
    check(site, *range(6 if is_idle else 7))


def test_a_record_that_was_shipped_late_is_not_lost_with_the_backup_it_missed(
    site: PostgresDatabase, node: Node
) -> None:
    node.write(too_long(1), record(2), too_long(3))
    node.turns(1)
    saved = [(name, site.query(f"SELECT * FROM {name}")) for name in TABLES]
    with closing(SqliteDatabase(node.path)) as local:
        local.execute("UPDATE words SET word = 'short' || id WHERE length(word) > 99")
    ask_again(node)
    node.turns(1)
    check(site, 1, 2, 3)
    for name, rows in saved:
        restore(site, name, rows)
    node.turns(3)
    check(site, 1, 2, 3)


def test_what_is_asked_for_again_takes_no_number_that_was_used(
    site: PostgresDatabase, node: Node
) -> None:
    node.write(too_long(1), record(2), record(3))
    node.turns(1)
    with closing(SqliteDatabase(node.path)) as local:
        assert prune(local, ALL.last) == 2
        local.execute("UPDATE words SET word = 'short' || id WHERE length(word) > 99")
        local.execute("UPDATE set_aside SET is_due = 1")
        node.turns(1)
        node.write(record(4))
        assert local.query("SELECT seq, record_id FROM records ORDER BY seq") == [
            (4, "r0001"),
            (5, "r0004"),
        ]
    node.turns(1)
    check(site, 1, 2, 3, 4)


def test_nodes_that_ship_the_same_keys_do_not_wait_for_each_other_in_a_circle(
    site: PostgresDatabase, node: Node
) -> None:
    """Another node has used `a` and is about to use `b`; this one's records name `b` first."""
    node.write(record(1, key_id="b"), record(2, key_id="a"))
    use = "INSERT INTO key_use VALUES (?, 1) ON CONFLICT (key_id) DO UPDATE SET last_used_at = 2"
    waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = ?"
    with closing(postgres.open_database(url_of(site))) as other, ThreadPoolExecutor(1) as pool:
        for key_id in "ab":
            site.execute(use, (key_id,))
        with other.transaction():
            other.execute(use, ("a",))
            turn = pool.submit(node.turns, 1)
            name = site.connection.info.dbname
            wait_until(lambda: site.query(waits, (name,)), "the node waits for the other")
            other.execute(use, ("b",))
        turn.result(30)
    assert node.replication.trouble is None
    check(site, 1, 2)


def test_a_clock_that_was_set_back_stretches_no_nodes_trust_in_what_it_knows(
    tmp_path: Path, site: PostgresDatabase
) -> None:
    """It was 40 days ahead when the site was seen last; then the site is away."""
    path = sqlite.prepared_ledger(tmp_path)
    with closing(SqliteDatabase(path)) as local:
        remember(local, "site_seen_at", str(time.time() + 40 * 86_400))
    nowhere = SiteReplication(path, url_of(site), 0.2, Budgets("NOK"))
    wait_until(lambda: nowhere.health() is not None, "what it knows is too old")
    nowhere.local.close()
    with closing(Node(tmp_path, url_of(site))) as node:
        assert node.replication.health() is None
        node.turns(1)
        noted = float(remembered(node.replication.local, "site_seen_at") or 0)
    assert abs(noted - time.time()) < 600


def test_a_shipment_in_doubt_counts_once_also_where_the_site_pruned_it_meanwhile(
    site: PostgresDatabase, node: Node
) -> None:
    node.write(*(record(n) for n in range(3)))
    node.turns(1)
    with closing(SqliteDatabase(node.path)) as local:
        local.execute("UPDATE meta SET value = '1' WHERE name = 'shipped_seq'")
    assert prune(site, ALL.last) == 3
    node.replication.disconnect()
    node.write(record(3))
    node.turns(2)
    lines = usage(site, ALL, ["owner"], Only())
    assert [(line["owner"], line["requests"]) for line in lines] == [
        (f"owner-{n}", 1) for n in range(4)
    ]
