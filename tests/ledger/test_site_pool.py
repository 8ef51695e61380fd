"""Many requests at once share a few connections to the site, and outlive its restart."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from server.ledger.errors import LedgerUnavailable
from server.ledger.key_store import KeyStore
from server.ledger.site_pool import CONNECTIONS, SitePool
from tests.support.sites import new_site, postgres_server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with postgres_server() as running:
        yield running


def backend(pool: SitePool) -> int:
    with closing(pool.open_books()) as books:
        KeyStore(books).list()
        return int(books.query("SELECT pg_backend_pid()")[0][0])


def test_requests_at_once_share_a_few_connections(server: Any) -> None:
    with closing(SitePool(new_site(server))) as pool, ThreadPoolExecutor(20) as threads:
        backends = set(threads.map(backend, 100 * [pool]))
    assert 1 <= len(backends) <= CONNECTIONS


def test_a_database_that_restarts_gives_connections_again(server: Any) -> None:
    with closing(SitePool(new_site(server))) as pool:
        first = backend(pool)
        assert backend(pool) == first
        server.stop()
        with pytest.raises(LedgerUnavailable, match="no connection in time"):
            backend(pool)
        server.start()
        assert backend(pool) != first
