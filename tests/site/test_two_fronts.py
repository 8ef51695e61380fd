"""Two servers of a site: a key's limits hold for both together, with and without their database."""

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.fronts import fronts
from tests.support.serving import wait_until
from tests.support.sites import new_site, postgres_server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with postgres_server() as running:
        yield running


def test_two_fronts_admit_no_more_of_a_thousand_requests_than_the_limit(
    tmp_path: Path, server: Any
) -> None:
    with fronts(tmp_path, new_site(server)) as site, ThreadPoolExecutor(8) as pool:
        _, key = site.new_key(requests_per_minute=100, burst=0)
        began = time.monotonic()
        answers = list(pool.map(lambda n: site.send(n % 2, key), range(1000)))
        assert time.monotonic() - began < 60
        seen = Counter(answer.status_code for answer in answers)
        assert set(seen) == {200, 429}
        assert seen[200] == 100
        refused = next(a for a in answers if a.status_code == 429)
        assert int(refused.headers["Retry-After"]) >= 1
        wait_until(
            lambda: {site.send(n, key).headers["X-RateLimit-Remaining"] for n in (0, 1)} == {"0"},
            "the headers tell the site's figures",
        )


def test_a_database_that_starts_anew_under_load_makes_no_room(tmp_path: Path, server: Any) -> None:
    with fronts(tmp_path, new_site(server)) as site, ThreadPoolExecutor(8) as pool:
        _, key = site.new_key(requests_per_minute=60, burst=0)
        asked = [pool.submit(site.send, n % 2, key) for n in range(300)]
        server.stop()
        server.start()
        asked += [pool.submit(site.send, n % 2, key) for n in range(300)]
        seen = Counter(each.result().status_code for each in asked)
    assert set(seen) == {200, 429}
    assert 30 <= seen[200] <= 60


def test_without_their_database_they_go_on_within_the_limit(tmp_path: Path, server: Any) -> None:
    with fronts(tmp_path, new_site(server)) as site:
        _, key = site.new_key(requests_per_minute=40, burst=0)
        server.stop()
        try:
            statuses = [site.send(n % 2, key).status_code for n in range(60)]
        finally:
            server.start()
    assert Counter(statuses) == {200: 40, 429: 20}
