"""A serving node whose site's database is cut, stopped and started at random under load.

FJORD_TEST_CUTS=15 asks for more rounds than the suite has time for.
"""

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from server.ledger import postgres, sqlite
from server.ledger.database import Database, PostgresDatabase, SqliteDatabase
from tests.support.crowd import REGISTRY, Crowd, asking, checked, readiness, server_process, url_of
from tests.support.serving import make_key, wait_until
from tests.support.sites import new_site, postgres_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
ROUNDS = int(os.environ.get("FJORD_TEST_CUTS", "3"))
CUT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
CUT_WHILE_SHIPPING = f"{CUT} AND state = 'active' AND position('INTO usage_records' in query) > 0"
RECORDS = """
SELECT record_id, "end", prompt_tokens, completion_tokens, currency, amount FROM usage_records
"""
SUMS = "SELECT CAST(sum(requests) AS BIGINT), CAST(sum(amount) AS BIGINT) FROM usage_daily"


@pytest.fixture
def server() -> Iterator[Any]:
    with postgres_server() as running:
        yield running


def shake(server: Any, site_url: str, crowd: Crowd, drawn: random.Random) -> None:
    """Cut the node's connection at random, or in the middle of a shipment, or take the whole
    database away for a while."""
    for number in range(ROUNDS):
        wait_for_more(crowd, drawn.randrange(1, 80))
        if number % 3 == 2:
            server.stop()
            wait_for_more(crowd, 50)
            assert readiness(crowd.url) == (200, {})
            server.start()
            continue
        with closing(PostgresDatabase(postgres.connect(site_url))) as site:
            if number % 3 == 1:
                cut_a_shipment(site)
            else:
                site.query(CUT)


def cut_a_shipment(site: Database) -> None:
    """In its midst: one takes some ms, twice a second, so it is looked for without a pause."""
    end = time.monotonic() + 60
    while not site.query(CUT_WHILE_SHIPPING):
        assert time.monotonic() < end, "no shipment was met within 60 s"


def wait_for_more(crowd: Crowd, answers: int) -> None:
    wanted = len(crowd.ended) + answers
    wait_until(lambda: len(crowd.ended) >= wanted, f"the node serves on ({crowd.prefix})")


def all_shipped(site: Database, local: Database) -> bool:
    """By the daily sums: the site's are written with the records, in one statement."""
    return site.query(SUMS) == local.query(SUMS)


def test_no_record_is_lost_or_doubled_while_the_database_comes_and_goes(
    tmp_path: Path, server: Any
) -> None:
    (tmp_path / "registry.yaml").write_text(REGISTRY)
    data_dir, drawn = tmp_path / "data", random.Random(11)
    key, site_url = make_key(data_dir), new_site(server)
    node = {"FJORD_LEDGER_URL": site_url}
    with server_process(tmp_path, environment=node) as process:
        first = Crowd(url_of(process, tmp_path / "log"), key, "first")
        with asking(first):
            shake(server, site_url, first, drawn)
            process.kill()
    with server_process(tmp_path, environment=node) as process:
        second = Crowd(url_of(process, tmp_path / "log"), key, "second")
        with asking(second):
            shake(server, site_url, second, drawn)
        with (
            closing(postgres.open_database(site_url)) as site,
            closing(SqliteDatabase(sqlite.prepared_ledger(data_dir))) as local,
        ):
            wait_until(lambda: all_shipped(site, local), "everything is shipped", 60)
            assert sorted(site.query(RECORDS)) == sorted(local.query(RECORDS))
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert checked(data_dir, [first, second]) > 0
