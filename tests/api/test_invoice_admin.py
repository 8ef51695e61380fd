"""/admin/v1/invoices: previewed, issued, listed and shown, to those whom they concern."""

from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from engines.registry.seller import SellerEntry
from server.ledger.database import Database
from server.ledger.invoice import document
from server.ledger.invoicing import issued
from tests.support.admin_site import AdminSite, admin_site
from tests.support.invoicing import SELLER, add, used
from tests.support.people import People
from tests.support.sites import new_site, postgres_server

pytestmark = pytest.mark.anyio

INVOICES = "/admin/v1/invoices"
MONTH = "2026-03"
ENTRY = SellerEntry.model_validate(
    {
        "name": SELLER.name,
        "address": SELLER.address,
        "organisation_number": SELLER.organisation_number,
        "vat_number": SELLER.vat_number,
        "vat_percent": "25",
    }
)


class InvoicingSite:
    def __init__(self, site: AdminSite, people: People) -> None:
        self.site, self.people = site, people

    async def ask(
        self, who: str, method: str, path: str = "", status: int = 200, **options: Any
    ) -> Any:
        headers = self.people.headers(who)
        return await self.site.ask(method, INVOICES + path, status, headers=headers, **options)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Any]:
    with postgres_server() as running:
        yield running


def records(books: Database) -> None:
    add(books, used(MONTH, "acme", 1_234_567), used(MONTH, "globex", 5), used("2026-04", "acme"))


@pytest.fixture(params=["sqlite", "postgresql"])
async def site(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[InvoicingSite]:
    people, url = People(), None
    if request.param == "postgresql":
        url = new_site(request.getfixturevalue("postgres"))

    def prepare(books: Database) -> None:
        people.make(books)
        records(books)

    async with admin_site(tmp_path, prepare=prepare, ledger_url=url, seller=ENTRY) as made:
        yield InvoicingSite(made, people)


async def test_an_invoice_is_previewed_issued_and_shown_as_the_command_has_it(
    site: InvoicingSite,
) -> None:
    asked = {"month": MONTH, "owner": "acme"}
    [draft] = await site.ask("root", "GET", "/preview", params=asked)
    assert (draft["is_draft"], draft["number"], draft["net"]) == (True, None, "1.234567")
    assert draft["to_pay"] == "1.54"
    [head] = await site.ask("root", "POST", json=asked)
    again = await site.ask("root", "POST", json=asked)
    assert again == [head]
    [whole] = await site.ask("root", "GET", "/preview", params=asked)
    assert whole["number"] == head["number"]
    shown = await site.ask("root", "GET", f"/{head['number']}")
    assert shown == whole
    assert {name: shown[name] for name in head} == head
    with closing(site.site.ledger.open_books()) as books:
        [stored] = issued(books, "acme", MONTH)
    told = document(stored)
    line = told["lines"][0]
    assert (told["to_pay"], line["amount"]) == (shown["to_pay"], shown["lines"][0]["amount"])
    entries = await site.site.ask("GET", "/admin/v1/audit", params={"action": "invoice.issue"})
    assert [entry["actor_kind"] for entry in entries["entries"]] == ["key"]


async def test_the_pdf_is_the_same_each_time(site: InvoicingSite) -> None:
    [head] = await site.ask("root", "POST", json={"month": MONTH, "owner": "acme"})
    files = [
        await site.site.client.get(
            f"{INVOICES}/{head['number']}.pdf", headers=site.people.headers("aud")
        )
        for _ in range(2)
    ]
    assert files[0].content == files[1].content
    assert files[0].content.startswith(b"%PDF-")
    assert files[0].headers["content-type"] == "application/pdf"


async def test_everybodys_are_issued_at_once_and_each_sees_their_own(site: InvoicingSite) -> None:
    heads = await site.ask("root", "POST", json={"month": MONTH})
    by_owner = {head["owner"]: head["number"] for head in heads}
    assert set(by_owner) == {"acme", "globex"}
    for who in ("root", "sid"):
        listed = await site.ask(who, "GET")
        assert [one["number"] for one in listed] == sorted(by_owner.values(), reverse=True)
    first, last = sorted(by_owner.values())
    assert [one["number"] for one in await site.ask("sid", "GET", params={"limit": 1})] == [last]
    older = await site.ask("sid", "GET", params={"before": last})
    assert [one["number"] for one in older] == [first]
    for who in ("boss", "aud"):
        assert [one["owner"] for one in await site.ask(who, "GET")] == ["acme"]
        assert (await site.ask(who, "GET", f"/{by_owner['acme']}"))["owner"] == "acme"
        for unknown in ("globex", "nobody"):
            assert await site.ask(who, "GET", params={"owner": unknown}) == []
            await site.ask(who, "GET", "/preview", 404, params={"month": MONTH, "owner": unknown})
        previewed = await site.ask(who, "GET", "/preview", params={"month": "2026-04"})
        assert {one["owner"] for one in previewed} == {"acme"}
        told = [
            (await site.ask(who, "GET", f"/{number}{end}", 404))["error"]["message"]
            for number in (by_owner["globex"], "2026-9999")
            for end in ("", ".pdf")
        ]
        assert told[0].replace(by_owner["globex"], "…") == told[2].replace("2026-9999", "…")
        assert told[1] == told[0]
    await site.ask("mel", "GET", "", 403)
    await site.ask("boss", "POST", "", 403, json={"month": MONTH})


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"month": "2026-13"}, "month: "),
        ({"month": "9998-12"}, "month: "),
        ({"month": "2999-12"}, "2999-12 is not over"),
        ({}, "month: Field required."),
        ({"month": MONTH, "day": 1}, "day: Extra inputs"),
    ],
)
async def test_what_cannot_be_issued_is_a_400_that_says_why(
    site: InvoicingSite, body: dict[str, Any], words: str
) -> None:
    error = await site.ask("root", "POST", "", 400, json=body)
    assert error["error"]["message"].startswith(words)
    await site.ask("root", "POST", "", 404, json={"month": MONTH, "owner": "nobody"})


async def test_numbers_that_are_none_are_404(site: InvoicingSite) -> None:
    for number in ("x", "2026-1", "2026-0001", "99999-0001", "2026-9999999999", "٢٠٢٦-0001"):
        await site.ask("root", "GET", f"/{number}", 404)
        await site.ask("root", "GET", f"/{number}.pdf", 404)
    await site.ask("root", "GET", "", 404, params={"before": "x"})


async def test_without_a_seller_nothing_is_issued(tmp_path: Path) -> None:
    async with admin_site(tmp_path, prepare=records) as site:
        error = await site.ask("POST", INVOICES, 400, json={"month": MONTH})
        assert "names its seller" in error["error"]["message"]
        preview = {"month": MONTH, "owner": "acme"}
        [draft] = await site.ask("GET", f"{INVOICES}/preview", params=preview)
        assert (draft["seller"], draft["vat_percent"]) == (None, None)
