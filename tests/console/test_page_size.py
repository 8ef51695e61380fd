"""Pages of a site with a thousand keys: light, and answered at once."""

import re
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from benchmarks.machine import loop_ms
from server.ledger.allowance import Budget
from server.ledger.key_store import KeyStore
from server.ledger.keys import Key
from server.ledger.member_store import MemberStore
from server.ledger.owner_store import OwnerStore
from server.ledger.tenants import MemberLevel, OwnerLevel
from tests.support.admin_site import AdminSite, admin_site
from tests.support.given_session import GivenSessions

pytestmark = pytest.mark.anyio

MOST_BYTES, MOST_MS = 150_000, 50
LOOP_MS = 27
"""What `loop_ms` is on a machine on which these pages take 10 to 30 ms."""
BUDGET = Budget(kind="money", amount=10**9, period="month")
PAGES = (
    "/keys",
    "/keys?q=key+9&page=2",
    "/keys/new",
    "/owners",
    "/members",
    "/audit",
    "/requests",
    "/usage",
    "/usage?by=key",
)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[AdminSite]:
    async with admin_site(tmp_path, GivenSessions()) as site:
        with closing(site.ledger.open_books()) as books, books.writing("keys"):
            for number in range(100):
                name = f"owner {number}"
                owner = OwnerLevel(owner_id="", name=name, currency="NOK", budget=BUDGET)
                OwnerStore(books).create(owner)
                member = MemberLevel(member_id="", name=f"person {number}", owner=name)
                MemberStore(books).create(member)
                for key in range(10):
                    made = Key(key_id="", name=f"key {number} {key}", owner=name, budget=BUDGET)
                    KeyStore(books).create(made)
        yield site


async def weight(client: httpx.AsyncClient, path: str) -> int:
    """Of a page and all that it loads, in bytes."""
    page = await client.get(path)
    assert page.status_code == 200
    files = set(re.findall(r'(?:src|href)="(/console/static/[^"]+)"', page.text))
    return len(page.content) + sum([len((await client.get(url)).content) for url in files])


async def test_no_page_weighs_more_than_a_picture(site: AdminSite) -> None:
    weights = {path: await weight(site.client, f"/console{path}") for path in PAGES}
    assert {path: bytes_ for path, bytes_ in weights.items() if bytes_ > MOST_BYTES} == {}


@pytest.mark.alone
async def test_each_page_is_answered_within_50_ms(site: AdminSite) -> None:
    """Of the processor: all of it is in this process, and waits for nobody. In a minute in which
    a shared machine computes at half its speed, a page has twice the time."""
    taken = {}
    for path in PAGES:
        times = []
        for _ in range(7):
            began = time.process_time()
            assert (await site.client.get(f"/console{path}")).status_code == 200
            times.append((time.process_time() - began) * 1000)
        taken[path] = min(times) / max(1.0, loop_ms() / LOOP_MS)
    assert {path: ms for path, ms in taken.items() if ms > MOST_MS} == {}
