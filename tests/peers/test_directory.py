"""Where the site's nodes are, and the password that its servers know each other by."""

from collections.abc import Iterator
from typing import Any

import pytest

from engines.base import EngineUnavailable
from server.ledger.database import Database
from server.ledger.errors import LedgerUnavailable
from server.ledger.meta import remember
from server.peers.directory import Directory
from tests.support.peers import PeerSite, peer_site
from tests.support.serving import scripted
from tests.support.sites import new_site, postgres_server


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeerSite]:
    folder = tmp_path_factory.mktemp("site")
    with postgres_server() as server, peer_site(folder, new_site(server), scripted("m")) as found:
        yield found


class Books:
    """A site's, which can be away."""

    def __init__(self, site: PeerSite) -> None:
        self._open = site.nodes[0].services.ledger.open_books
        self.is_away = False
        self.looks = 0

    def __call__(self) -> Database:
        self.looks += 1
        if self.is_away:
            raise LedgerUnavailable("away")
        return self._open()


@pytest.mark.anyio
async def test_a_node_is_where_it_was_while_the_database_is_away(site: PeerSite) -> None:
    books = Books(site)
    directory = Directory(books)
    assert await directory.address("gpu-1") == site.nodes[1].url
    books.is_away = True
    assert await directory.address("gpu-1") == site.nodes[1].url
    with pytest.raises(EngineUnavailable, match="database cannot be asked"):
        await directory.address("gpu-2")
    books.is_away = False
    with pytest.raises(EngineUnavailable, match="gpu-2 was never heard of"):
        await directory.address("gpu-2")


@pytest.mark.anyio
async def test_strangers_make_few_looks_at_the_database(site: PeerSite) -> None:
    books = Books(site)
    directory = Directory(books)
    right = await directory.password()
    for _ in range(100):
        assert not await directory.is_password("wrong")
        assert not await directory.is_password("å\xff")
        assert await directory.is_password(right)
    assert books.looks <= 3


@pytest.mark.anyio
async def test_another_password_is_taken_and_the_old_one_no_longer(
    site: PeerSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.peers.directory.LOOK_AGAIN_S", 0.0)
    directory: Any = Directory(site.nodes[0].services.ledger.open_books)
    old = await directory.password()
    with site.books() as books, books.writing("meta"):
        remember(books, "peer_password", "new")
    assert await directory.is_password("new")
    assert not await directory.is_password(old)
