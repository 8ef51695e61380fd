"""Signing in at a site: one PostgreSQL, several nodes."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from server.accounts.tenant_wire import MemberPatch
from server.ledger import postgres
from server.ledger.member_store import MemberStore
from server.ledger.owner_store import OwnerStore
from server.ledger.password_store import PasswordStore
from server.ledger.session_store import SessionStore
from server.ledger.tenants import MemberLevel, OwnerLevel
from server.sign_in.site_secret import site_secret
from tests.support.admin_site import admin_site
from tests.support.signing_in import PASSWORD, link_of, send, signed_in, visitor
from tests.support.sites import new_site, postgres_server

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with postgres_server() as running:
        yield new_site(running)


def test_nodes_that_start_at_once_sign_with_one_secret(url: str) -> None:
    def asked(_: int) -> str:
        with closing(postgres.open_database(url)) as books:
            return site_secret(books)

    with ThreadPoolExecutor(8) as nodes:
        assert len(set(nodes.map(asked, range(8)))) == 1


async def test_of_two_first_links_at_once_one_is_good(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "STATEMENT_TIMEOUT_S", 2)
    async with (
        admin_site(tmp_path, ledger_url=url) as site,
        visitor(site) as one,
        visitor(site) as other,
        visitor(site) as late,
    ):
        paths = [f"/console/welcome/{link_of(site.ledger)}" for _ in range(2)]
        forms = (
            send(who, path, name=name, password=PASSWORD, again=PASSWORD)
            for who, path, name in zip((one, other), paths, ("Ada", "Eve"), strict=True)
        )
        statuses = [answer.status_code for answer in await asyncio.gather(*forms)]
        assert sorted(statuses) == [303, 410]
        name = ("Ada", "Eve")[statuses.index(303)]
        assert (await signed_in(late, name=name)).status_code == 303
        with closing(postgres.connect(url)) as books, books.transaction():
            books.execute(b"LOCK TABLE members IN ACCESS EXCLUSIVE MODE")
            assert (await late.get("/console")).status_code == 503


def test_what_ends_ways_in_takes_turns(url: str) -> None:
    with closing(postgres.open_database(url)) as books:
        OwnerStore(books).create(OwnerLevel(owner_id="", name="doors"))
        bob = MemberLevel(member_id="", owner="doors", name="Bob", role="member")
        bob_id = MemberStore(books).create(bob).member_id

    def change(turn: int) -> None:
        with closing(postgres.open_database(url)) as books:
            for n in range(10):
                match turn % 3:
                    case 0:
                        SessionStore(books).begin(f"{turn}-{n}", bob_id, "password", "", "")
                    case 1:
                        patch = MemberPatch(disabled=n % 2 == 0)
                        MemberStore(books).update(bob_id, patch.apply)
                    case _:
                        PasswordStore(books).invite(bob_id)
                        PasswordStore(books).set(bob_id, "hash")

    with ThreadPoolExecutor(6) as nodes:
        list(nodes.map(change, range(6)))
