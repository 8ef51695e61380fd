"""Invites, sessions, invoices and files in the console; and what each role finds there."""

import csv
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from io import StringIO
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from engines.registry.seller import SellerEntry
from server.accounts.principal import Principal
from server.ledger.database import Database
from server.ledger.session_store import SessionStore
from tests.support.admin_site import AdminSite, admin_site
from tests.support.given_session import GivenSessions
from tests.support.html_forms import SeenPage, Visitor
from tests.support.invoicing import SELLER, add, used
from tests.support.people import PEOPLE, People

pytestmark = pytest.mark.anyio

INVOICES = "/console/usage/invoices"
PREVIEW = f"{INVOICES}/preview"
MONTH = "2026-03"
ENTRY = SellerEntry.model_validate(
    {
        "name": SELLER.name,
        "address": SELLER.address,
        "organisation_number": SELLER.organisation_number,
        "vat_percent": "25",
    }
)


class Console:
    """Whoever is said has signed in."""

    def __init__(self, site: AdminSite, people: People, sessions: GivenSessions) -> None:
        self.site, self.people, self.sessions = site, people, sessions
        self.visitor = Visitor(site.client)

    def sign_in(self, who: str) -> None:
        role, owner = PEOPLE[who]
        name = self.people.ids[who]
        self.sessions.principal = Principal(kind="member", name=name, role=role, owner=owner)


@asynccontextmanager
async def opened(data_dir: Path) -> AsyncIterator[Console]:
    people, sessions = People(), GivenSessions()

    def prepare(books: Database) -> None:
        people.make(books)
        add(books, used(MONTH, "acme", 1_234_567), used(MONTH, "globex", 5))

    async with admin_site(data_dir, sessions, prepare=prepare, seller=ENTRY) as site:
        yield Console(site, people, sessions)


@pytest.fixture
async def console(tmp_path: Path) -> AsyncIterator[Console]:
    async with opened(tmp_path) as made:
        yield made


async def test_an_invite_is_shown_once_and_leads_in(console: Console) -> None:
    console.sign_in("boss")
    here = f"/console/members/{console.people.ids['mel']}"
    page = await console.visitor.open(here)
    made = await console.visitor.send(page, f"{here}/invite")
    assert (made.status_code, made.headers["cache-control"]) == (200, "no-store")
    link = SeenPage(made).by_id["text"]
    assert link.startswith("http://fjord/console/welcome/")
    assert link not in (await console.site.client.get(here)).text
    assert f'data-path="{urlsplit(link).path}"' in made.text
    others = f"/console/members/{console.people.ids['gus']}"
    refused = await console.site.client.post(f"{others}/invite", data={"csrf": "token"})
    assert refused.status_code == 404


async def test_a_members_sessions_are_shown_and_ended(console: Console) -> None:
    mel = console.people.ids["mel"]
    with closing(console.site.ledger.open_books()) as books:
        SessionStore(books).begin("s" * 64, mel, "password", "192.0.2.7", "<i>Browser")
    console.sign_in("boss")
    path = f"/console/members/{mel}/sessions"
    page = await console.visitor.open(path)
    assert "192.0.2.7" in page.text
    assert "<i>Browser" in page.text
    done = await console.visitor.send(page, path)
    assert "signed out everywhere" in (await console.visitor.open(done.headers["location"])).text
    assert "signed in nowhere" in (await console.visitor.open(path)).text


async def test_an_invoice_is_previewed_issued_shown_and_printed(console: Console) -> None:
    draft = await console.visitor.open(f"{PREVIEW}?month={MONTH}&owner=acme")
    assert "1.234567" in draft.text
    assert "not yet: a draft" in draft.text
    done = await console.visitor.send(draft, PREVIEW)
    page = await console.visitor.open(done.headers["location"])
    [shown] = {link for link in page.links if link.startswith(f"{INVOICES}/20") and "." not in link}
    assert "1.234567" in (await console.visitor.open(shown)).text
    printed = await console.site.client.get(f"{shown}.pdf")
    assert printed.content.startswith(b"%PDF-")
    assert printed.headers["content-type"] == "application/pdf"
    assert printed.headers["cache-control"] == "no-store"
    again = await console.visitor.open(f"{PREVIEW}?month={MONTH}&owner=acme")
    assert [form for form in again.forms.values() if form.method == "post"][1:] == []


@pytest.mark.parametrize(
    ("asked", "field", "said"),
    [
        ({"month": "March", "owner": "acme"}, "month", "String should match"),
        ({"month": MONTH, "owner": ""}, "owner", "an owner's name or id"),
        ({"month": MONTH, "owner": "<b>"}, "", "No owner has the name or id '<b>'."),
    ],
)
async def test_a_preview_of_nothing_says_why(
    console: Console, asked: dict[str, str], field: str, said: str
) -> None:
    answer = await console.site.client.get(PREVIEW, params=asked)
    page = SeenPage(answer)
    assert answer.status_code in (400, 404)
    assert said in (page.said_of(field) if field else page.text)
    assert page.forms[PREVIEW].values["month"] == asked["month"]


async def test_what_is_not_over_is_not_issued_and_the_draft_stays(console: Console) -> None:
    body = {"csrf": "token", "month": "2999-12", "owner": "acme"}
    refused = await console.site.client.post(PREVIEW, data=body)
    assert refused.status_code == 400
    assert "over" in SeenPage(refused).by_id["main"]


async def test_usage_is_a_file_too(console: Console) -> None:
    asked = f"first={MONTH}-01&last={MONTH}-31&by=owner"
    page = await console.visitor.open(f"/console/usage?{asked}")
    links = [link for link in page.links if "/usage/file?" in link]
    table = await console.site.client.get(links[0])
    assert table.headers["content-type"].startswith("text/csv")
    assert "attachment" in table.headers["content-disposition"]
    lines = list(csv.DictReader(StringIO(table.text)))
    assert [line["owner"] for line in lines] == ["acme", "globex"]
    assert (await console.site.client.get(links[1])).content.startswith(b"PAR1")
    wrong = await console.site.client.get("/console/usage/file?format=pdf")
    assert wrong.status_code == 400


@pytest.mark.parametrize("who", PEOPLE)
async def test_each_role_finds_what_is_its_own_and_no_button_that_is_refused(
    console: Console, who: str
) -> None:
    """Every page that a shown page leads to is answered; every button is the role's."""
    console.sign_in(who)
    role, owner = PEOPLE[who]
    waiting = [f"/console/{page}" for page in ("keys", "usage", "requests")]
    rooms = (*waiting, "/console/owners", "/console/members", "/console/audit")
    seen, acts = set[str](), set[str]()
    while waiting:
        path = waiting.pop().partition("#")[0]
        if path in seen or not path.startswith(rooms) or "export" in path or "/file?" in path:
            continue
        seen.add(path)
        answer = await console.site.client.get(path, follow_redirects=True)
        assert answer.status_code == 200, (path, answer.text)
        page = SeenPage(answer)
        acts |= {form.action for form in page.forms.values() if form.method == "post"}
        waiting += [link for link in page.links if link.startswith("/console/")]
        assert owner in (None, "acme") or "acme" not in page.by_id["main"]
    acts -= {"/console/sign-out"}
    assert bool(acts) == (role != "auditor")
    assert ("/console/owners/new" in acts) == (role == "admin")
    assert ("/console/members/new" in acts) == (role in ("admin", "manager"))


async def test_a_members_new_key_is_the_members(console: Console) -> None:
    console.sign_in("mel")
    new = "/console/keys/new"
    form = await console.visitor.open(new)
    assert "price_factor" not in form.fields
    made = await console.visitor.send(form, new, name="mine")
    assert made.status_code == 200
    console.sign_in("root")
    [key] = await console.site.ask("GET", "/admin/v1/keys", params={"q": "mine"})
    assert (key["owner"], key["member"]) == ("acme", "mel")
