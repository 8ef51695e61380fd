"""A browser without a screen at the console's door."""

import re
from contextlib import closing
from typing import Any

import httpx

from server.ledger.ledger import Ledger
from server.ledger.member_store import MemberStore
from server.ledger.password_store import PasswordStore
from server.ledger.tenants import MemberLevel
from tests.support.admin_site import AdminSite
from tests.support.fake_issuer import FakeIssuer

PASSWORD = "a sentence that nobody says"
SESSION = "fjord_session"
RULES = [
    {"claim": "groups", "has": "ops", "role": "admin"},
    {"claim": "realm_access.roles", "has": "fjord-auditor", "role": "auditor"},
    {"claim": "groups", "has": "acme-leads", "role": "manager", "owner": "acme"},
    {"claim": "groups", "has": "acme-devs", "role": "member", "owner": "acme"},
    {"claim": "groups", "has": "us-devs", "role": "member", "owner": "us"},
    {"claim": "groups", "has": "ghosts", "role": "member", "owner": "nowhere"},
]
"""Of the issuer Staff."""


def token_of(page: httpx.Response) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', page.text)
    assert found is not None, page.text
    return found[1]


def link_of(ledger: Ledger, member_id: str | None = None) -> str:
    with closing(ledger.open_books()) as books:
        return PasswordStore(books).invite(member_id)


def visitor(site: AdminSite, **options: Any) -> httpx.AsyncClient:
    """With cookies, and no key."""
    transport = httpx.ASGITransport(site.app, **options)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost")


async def send(
    browser: httpx.AsyncClient, path: str, show: str | None = None, **fields: str
) -> httpx.Response:
    """The form of the page `show` (default: of `path` itself)."""
    page = await browser.get(show or path)
    return await browser.post(path, data={"csrf": token_of(page), **fields})


async def welcomed(
    site: AdminSite, browser: httpx.AsyncClient, member_id: str | None = None, name: str = "Ada"
) -> httpx.Response:
    """Has set a password by a link, and is signed in."""
    path = f"/console/welcome/{link_of(site.ledger, member_id)}"
    answer = await send(browser, path, name=name, password=PASSWORD, again=PASSWORD)
    assert answer.status_code == 303, answer.text
    return answer


async def signed_in(
    browser: httpx.AsyncClient, name: str = "Ada", password: str = PASSWORD, **more: str
) -> httpx.Response:
    return await send(browser, "/console/sign-in", name=name, password=password, **more)


async def came_back(
    browser: httpx.AsyncClient, issuer: FakeIssuer, code: str = "good", **changed: str
) -> httpx.Response:
    left = await browser.get("/console/sign-in/issuer", params={"name": "Staff"})
    assert left.status_code == 303, left.text
    query = issuer.came(left.headers["location"])
    assert query["redirect_uri"] == "http://localhost/console/callback"
    back = {"code": code, "state": query["state"]} | changed
    return await browser.get("/console/callback", params=back)


def members(site: AdminSite) -> list[MemberLevel]:
    with closing(site.ledger.open_books()) as books:
        return MemberStore(books).list()


def new_member(site: AdminSite, **fields: str) -> MemberLevel:
    said = {"member_id": "", "owner": "acme", "name": "Bob", "role": "member"} | fields
    with closing(site.ledger.open_books()) as books:
        return MemberStore(books).create(MemberLevel(**said))  # type: ignore[arg-type]
