"""What each level has used, has reserved and has left; and what somebody is told of themselves."""

from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from server.ledger.allowance import Budget
from server.ledger.key_store import KeyStore
from server.ledger.level_use import level_use
from server.ledger.member_store import MemberStore
from server.ledger.owner_store import OwnerStore
from server.ledger.records import UsageRecord
from server.ledger.site_store import SiteStore
from tests.support.admin_site import AdminSite, admin_site
from tests.support.nodes import until
from tests.support.people import People
from tests.support.sites import new_site, postgres_server
from tests.support.tenants import money, tokens

pytestmark = pytest.mark.anyio
NOW = datetime.now(UTC)
UNEVEN = 333_333
"""Micro-units per million tokens, so that sums have all six decimals."""


class UsedSite:
    def __init__(self, site: AdminSite, people: People) -> None:
        self.site, self.people = site, people

    async def get(self, path: str, who: str = "root") -> Any:
        headers = self.people.headers(who)
        return await self.site.ask("GET", f"/admin/v1/{path}", headers=headers)

    def record(self, name: str, number: int, owner: str = "acme") -> UsageRecord:
        return UsageRecord(
            record_id=f"{name}-{number}",
            key_id=self.people.keys[name],
            owner=owner,
            alias="a",
            weights="w",
            revision=None,
            endpoint="chat",
            stream=True,
            started_at=NOW.timestamp(),
            end="ok",
            prompt_tokens=1_000_003,
            completion_tokens=5,
            price_input=UNEVEN,
            price_output=UNEVEN,
        )


@pytest.fixture(scope="module")
def postgres() -> Iterator[Any]:
    with postgres_server() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
async def site(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[UsedSite]:
    people, url = People(), None
    if request.param == "postgresql":
        url = new_site(request.getfixturevalue("postgres"))

    def prepare(books: Any) -> None:
        people.make(books)
        month: Budget = money(5_000_000, "month")
        OwnerStore(books).update("acme", lambda o: replace(o, budget=month, currency="NOK"))
        MemberStore(books).update("mel", lambda m: replace(m, budget=tokens(10_000_000, "day")))
        SiteStore(books).update(lambda s: replace(s, budget=tokens(2_000_000)))

    async with admin_site(tmp_path, prepare=prepare, ledger_url=url) as made:
        used = UsedSite(made, people)
        for number in range(2):
            await made.ledger.close_record(used.record("mel", number))
        await made.ledger.close_record(used.record("pal", 0))
        if url is not None:
            await until(lambda: _arrived(made) == 3)
        yield used


def _arrived(made: AdminSite) -> int:
    with closing(made.ledger.open_books()) as books:
        return int(books.query("SELECT count(*) FROM usage_records")[0][0])


async def test_what_each_level_has_used_is_exact(site: UsedSite) -> None:
    each_micro = (1_000_008 * UNEVEN + 500_000) // 1_000_000
    owner = (await site.get("owners/acme"))["used"]
    assert (owner["requests"], owner["tokens"]) == (3, 3 * 1_000_008)
    assert owner["money"] == {"NOK": f"{3 * each_micro / 10**6:.6f}"}
    assert float(owner["spent"]) * 10**6 == 3 * each_micro
    assert float(owner["left"]) * 10**6 == 5_000_000 - 3 * each_micro
    assert (owner["period"], owner["begins"]) == ("month", NOW.date().replace(day=1).isoformat())
    member = (await site.get("members/mel"))["used"]
    assert (member["spent"], member["left"]) == ("2000016", "7999984")
    assert (member["period"], member["begins"]) == ("day", NOW.date().isoformat())
    key = (await site.get(f"keys/{site.people.keys['pal']}"))["used"]
    assert (key["requests"], key["spent"], key["period"]) == (1, None, "month")
    whole = (await site.get("site"))["used"]
    assert (whole["spent"], whole["left"], whole["ends_at"]) == ("3000024", "0", None)


async def test_what_open_requests_hold_is_reserved(site: UsedSite) -> None:
    open_one = site.record("mel", 9)

    async def reserved(path: str) -> float:
        return float((await site.get(path))["used"]["reserved"])

    assert await reserved("owners/acme") == 0
    with pytest.raises(Exception, match="budget"):
        await site.site.ledger.begin(open_one, reserve_micro=1, reserve_tokens=1)
    await site.site.ask("PATCH", "/admin/v1/site", json={"budget": None})
    ledger = site.site.ledger
    await until(lambda: "site" not in ledger.budgets.accounts)
    await ledger.begin(open_one, reserve_micro=1_250_000, reserve_tokens=77)
    while await reserved("owners/acme") != 1.25 or await reserved("members/mel") != 77:
        assert ledger.site is not None, "a node of its own knows at once"
    left = (await site.get("members/mel"))["used"]["left"]
    assert int(left) == 10_000_000 - 2_000_016 - 77
    await ledger.close_record(open_one)


async def test_who_asks_is_told_what_they_may_and_have_left(site: UsedSite) -> None:
    me = await site.get("me", "mel")
    assert (me["role"], me["owner"], me["member_id"]) == ("member", "acme", site.people.ids["mel"])
    assert "POST /keys" in me["may"]
    assert "POST /members" not in me["may"]
    assert [(level["level"], level["name"]) for level in me["levels"]] == [
        ("member", "mel"),
        ("owner", "acme"),
    ]
    assert me["levels"][0]["used"]["spent"] == "2000016"
    assert me["is_site_spent"] is True
    root = await site.get("me", "root")
    assert [level["level"] for level in root["levels"]] == ["member", "site"]
    operator = await site.site.ask("GET", "/admin/v1/me")
    assert (operator["kind"], operator["role"], operator["owner"]) == ("key", "admin", None)
    assert [level["level"] for level in operator["levels"]] == ["site"]
    auditor = await site.get("me", "aud")
    assert not [each for each in auditor["may"] if not each.startswith("GET ")]


async def test_the_minute_here_is_told_where_it_is_counted(site: UsedSite) -> None:
    if site.site.ledger.site is not None:
        pytest.skip("this server's own memory, whatever the books are")
    limits = {"requests_per_minute": 5, "tokens_per_minute": 100}
    path = f"/admin/v1/members/{site.people.ids['pal']}"
    await site.site.ask("PATCH", path, json=limits)
    await site.site.ask("PATCH", "/admin/v1/site", json={"budget": None})
    body = {"model": "none", "messages": [{"role": "user", "content": "Hi"}]}
    headers = {"X-API-Key": site.people.texts["pal"]}

    async def minute() -> Any:
        await site.site.client.post("/v1/chat/completions", json=body, headers=headers)
        return (await site.get("me", "pal"))["levels"][0]["minute"]

    while (found := await minute()) is None:
        pass
    assert found == {"requests": 1, "tokens": 0, "sequences": 0}


def test_a_command_knows_what_is_spent_and_not_what_is_reserved(tmp_path: Path) -> None:
    from server.ledger.ledger import Ledger

    Ledger.open(tmp_path, node="n").lock.release()
    with closing(_books(tmp_path)) as books:
        OwnerStore(books).ensure("acme")
        owner = OwnerStore(books).update("acme", lambda o: replace(o, budget=tokens(5)))
        use = level_use(books, owner)
        assert (use.spent, use.reserved, use.left) == (0, None, 5)
        assert KeyStore(books).list() == []


def _books(folder: Path) -> Any:
    from server.ledger.open_books import open_books

    return open_books(folder, None)
