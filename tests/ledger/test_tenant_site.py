"""Owners and members on a site of several nodes: one budget for all keys, one word for all."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from server.accounts.auth import AuthFailed, KeyRing
from server.ledger import postgres, replication
from server.ledger.database import PostgresDatabase
from server.ledger.errors import BudgetExceeded
from server.ledger.key_store import KeyStore
from server.ledger.keys import Key
from server.ledger.ledger import Ledger
from server.ledger.member_store import MemberStore
from server.ledger.owner_store import OwnerStore
from server.ledger.site_sql import MARKS_ELSEWHERE
from server.ledger.site_store import SiteStore
from tests.support.nodes import node, record, two_nodes, until, until_known
from tests.support.sites import new_site, postgres_server
from tests.support.tenants import money, new_key, new_member, new_owner, tokens

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

ONE = 15
"""What a request of `record` costs, in micro-units and in tokens."""


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


@pytest.mark.parametrize("level", ["member", "owner", "site"])
async def test_a_budget_above_counts_what_other_keys_spent_and_hold_on_other_nodes(
    tmp_path: Path, site_url: str, site: PostgresDatabase, level: str
) -> None:
    budget: dict[str, Any] = {"budget": money(30 * ONE), "currency": "NOK"}
    new_owner(site, **budget if level == "owner" else {})
    member = new_member(site, **budget if level == "member" else {})
    if level == "site":
        SiteStore(site).update(lambda old: replace(old, **budget))
    here, there = (new_key(site, member_id=member.member_id) for _ in "12")
    name = {"member": f"member:{member.member_id}", "owner": "owner:acme", "site": "site"}[level]
    async with two_nodes(tmp_path, site_url) as (one, two):
        await until_known(name, one, two)
        for number in range(20):
            await one.close_record(record(f"r{number}", here))
        account = two.budgets.accounts[name]
        await until(lambda: account.elsewhere == 20 * ONE)
        await one.begin(record("running", here), reserve_micro=10 * ONE)
        await until(lambda: account.elsewhere == 30 * ONE)
        with pytest.raises(BudgetExceeded) as refused:
            await two.begin(record("more", there), reserve_micro=ONE)
        assert refused.value.level == level
        assert one.budgets.accounts[name].used() == 30 * ONE
    async with node(tmp_path / "n2", site_url) as (again, _):
        await until(lambda: again.budgets.accounts[name].elsewhere == 20 * ONE)


async def test_what_a_key_has_spent_elsewhere_is_its_new_members_at_once(
    tmp_path: Path, site_url: str, site: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replication, "REREAD_S", 3600.0)
    budget: dict[str, Any] = {"budget": money(30 * ONE), "currency": "NOK"}
    new_owner(site)
    member = new_member(site, **budget)
    new_key(site, member_id=member.member_id)
    joining = new_key(site)
    name = f"member:{member.member_id}"
    async with two_nodes(tmp_path, site_url) as (one, two):
        await until_known(name, one, two)
        for number in range(20):
            await one.close_record(record(f"r{number}", joining))
        await until(lambda: site.query("SELECT count(*) FROM usage_records") == [(20,)])
        account, known = two.budgets.accounts[name], two.site
        assert known is not None
        marks = site.query(MARKS_ELSEWHERE, (known.node_uid,))
        await until(lambda: known.elsewhere_of is not None and known.elsewhere_of[-1] == marks)
        assert account.elsewhere == 0
        KeyStore(site).update(joining, lambda old: replace(old, member_id=member.member_id))
        await until(lambda: account.elsewhere == 20 * ONE)


async def test_an_archived_owner_and_a_disabled_member_are_refused_on_every_node(
    tmp_path: Path, site_url: str, site: PostgresDatabase
) -> None:
    member = new_member(site, owner=new_owner(site).name)
    store = KeyStore(site)
    _, owners = store.create(Key(key_id="", name="n", owner="acme"))
    _, hers = store.create(Key(key_id="", name="n", owner="acme", member_id=member.member_id))
    async with (
        node(tmp_path / "n1", site_url) as (_, one),
        node(tmp_path / "n2", site_url) as (_, two),
    ):
        rings = (one, two)
        await until(lambda: all(len(ring.by_hash) == 2 for ring in rings))
        MemberStore(site).update("ada", lambda old: replace(old, disabled_at=1.0))
        await until(lambda: all(is_barred(ring, hers) for ring in rings))
        assert not any(is_barred(ring, owners) for ring in rings)
        OwnerStore(site).update("acme", lambda old: replace(old, archived_at=1.0))
        await until(lambda: all(is_barred(ring, owners) for ring in rings))


def is_barred(ring: KeyRing, text: str) -> bool:
    try:
        ring.find(text)
    except AuthFailed:
        return True
    return False


async def test_a_node_that_joins_brings_owners_and_members_and_the_sites_own_win(
    tmp_path: Path, site_url: str, site: PostgresDatabase
) -> None:
    new_owner(site, "both", budget=tokens(5))
    there = new_member(site, "ada", "both", email="ada@site.example")
    alone = Ledger.open(tmp_path / "n1", node="n1")
    alone.lock.release()
    with closing(alone.open_books()) as books:
        new_owner(books, "both", budget=tokens(7))
        new_owner(books, "new", budget=tokens(9))
        ada, bob = new_member(books, "ada", "both"), new_member(books, "bob", "new")
        keys = {
            new_key(books, "both", member_id=ada.member_id): there.member_id,
            new_key(books, "new", member_id=bob.member_id): bob.member_id,
        }
    async with node(tmp_path / "n1", site_url) as (ledger, _):
        await until(lambda: len(KeyStore(site).list()) == 2)
        assert {key.key_id: key.member_id for key in KeyStore(site).list()} == keys
        budgets = {owner.name: owner.budget for owner in OwnerStore(site).list()}
        assert budgets == {"both": tokens(5), "new": tokens(9)}
        assert [one.email for one in MemberStore(site).list()] == ["ada@site.example", None]
        await until(lambda: ledger.budgets.accounts["owner:both"].budget == tokens(5))
