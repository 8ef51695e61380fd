"""Lists of the admin API: filtered, and a part at a time."""

import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.admin_site import AdminSite, admin_site
from tests.support.invoicing import add, used

pytestmark = pytest.mark.anyio

OWNERS, MEMBERS, KEYS = "/admin/v1/owners", "/admin/v1/members", "/admin/v1/keys"


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[AdminSite]:
    async with admin_site(tmp_path) as site:
        yield site


async def named(site: AdminSite, path: str, **asked: Any) -> tuple[list[str], int]:
    """The names that are listed, and the number that is told of all of them."""
    answer = await site.client.get(path, params=asked)
    assert answer.status_code == 200, answer.text
    return [one["name"] for one in answer.json()], int(answer.headers["x-total-count"])


async def test_keys_come_a_part_at_a_time(site: AdminSite) -> None:
    for number in range(5):
        await site.ask("POST", KEYS, 201, json={"name": f"Årsak {number}", "owner": "acme"})
    every = ["root", "app", *(f"Årsak {number}" for number in range(5))]
    assert await named(site, KEYS) == (every, 7)
    assert await named(site, KEYS, limit=2, offset=1) == (every[1:3], 7)
    assert await named(site, KEYS, limit=2, newest=True) == (every[:-3:-1], 7)
    assert await named(site, KEYS, q="åRSAK", limit=1, offset=4) == (["Årsak 4"], 5)
    assert await named(site, KEYS, offset=7) == ([], 7)


async def test_keys_are_found_by_id_owner_member_and_state(site: AdminSite) -> None:
    await site.ask("POST", MEMBERS, 201, json={"name": "Grace", "owner": "acme"})
    body = {"name": "hers", "owner": "acme", "member": "Grace"}
    key = await site.ask("POST", KEYS, 201, json=body)
    for words in (key["key_id"][2:], "grac"):
        assert await named(site, KEYS, q=words) == (["hers"], 1)
    assert await named(site, KEYS, q="ACM") == (["app", "hers"], 2)
    await site.ask("DELETE", f"{KEYS}/{key['key_id']}")
    assert await named(site, KEYS, state="revoked") == (["hers"], 1)
    assert await named(site, KEYS, state="active", owner="acme") == (["app"], 1)
    assert await named(site, KEYS, state="expired") == ([], 0)


async def test_owners_and_members_are_filtered_alike(site: AdminSite) -> None:
    for name, role in (("Grace", "member"), ("Linus", "manager"), ("Ken", "auditor")):
        body = {"name": name, "owner": "acme", "role": role, "email": f"{name}@bell.example"}
        made = await site.ask("POST", MEMBERS, 201, json=body)
    await site.ask("PATCH", f"{MEMBERS}/{made['member_id']}", json={"disabled": True})
    assert await named(site, MEMBERS, q="BELL", limit=1, offset=1) == (["Ken"], 3)
    assert await named(site, MEMBERS, state="disabled") == (["Ken"], 1)
    assert await named(site, MEMBERS, role="manager", owner="acme") == (["Linus"], 1)
    await site.ask("PATCH", f"{OWNERS}/acme", json={"archived": True})
    assert await named(site, OWNERS, state="archived") == (["acme"], 1)
    assert await named(site, OWNERS, q="ACME", limit=1) == (["acme"], 1)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"offset": -1}, "offset"),
        ({"offset": 10**9 + 1}, "offset"),
        ({"q": "x" * 201}, "q"),
        ({"state": "gone"}, "state"),
        ({"used": True}, "limit"),
        ({"used": True, "limit": 101}, "limit"),
    ],
)
@pytest.mark.parametrize("path", [KEYS, OWNERS, MEMBERS])
async def test_what_no_list_has_is_refused(
    site: AdminSite, path: str, asked: dict[str, Any], field: str
) -> None:
    refused = await site.ask("GET", path, 400, params=asked)
    assert refused["error"]["details"]["field"] == field


@pytest.mark.parametrize("path", [KEYS, OWNERS, MEMBERS])
async def test_what_each_has_used_is_listed_as_it_is_shown(site: AdminSite, path: str) -> None:
    member = await site.ask("POST", MEMBERS, 201, json={"name": "Grace", "owner": "acme"})
    records = []
    for period in ("day", "month", "total"):
        budget = {"kind": "tokens", "amount": 10**6, "period": period}
        body = {"name": period, "owner": "acme", "member": member["member_id"], "budget": budget}
        key = await site.ask("POST", KEYS, 201, json=body)
        for days in (0, 1, 40):
            told = {"key_id": key["key_id"], "currency": ("NOK", "EUR")[days % 2]}
            at = time.time() - days * 86_400
            records.append(used("2026-10", "acme", 7, **{**told, "started_at": at}))
    with closing(site.ledger.open_books()) as books:
        add(books, *records)
    listed = await site.ask("GET", path, params={"used": True, "limit": 100})
    assert sum(one["used"]["requests"] for one in listed) > 1
    ids = {KEYS: "key_id", OWNERS: "owner_id", MEMBERS: "member_id"}
    assert listed
    for one in listed:
        assert one == await site.ask("GET", f"{path}/{one[ids[path]]}")
    plain = await site.ask("GET", path)
    assert [{**one, "used": None} for one in listed] == [{**one, "used": None} for one in plain]
    assert "used" not in plain[0]
