"""/admin/v1/invoices: drafts, issued, listed and shown; as JSON and PDF."""

import tempfile
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from server.accounts.allowance_wire import NameText
from server.api.admin.reach import Reach, Reached
from server.api.services import Services
from server.errors import ApiError
from server.ledger.database import Database, NamedRow
from server.ledger.errors import InvoiceNotFound, LedgerError, LedgerUnavailable
from server.ledger.invoice import Invoice, Seller, document, seller_of
from server.ledger.invoice_pdf import write_pdf
from server.ledger.invoicing import drafts, issue_all, issued, owners
from server.ledger.issued_invoices import InvoiceNumber, newest, numbered
from server.ledger.money import decimal_text

Month: TypeAlias = Annotated[
    str, Field(pattern=r"^(19[7-9]|2\d\d)\d-(0[1-9]|1[0-2])$", description="As 2026-10.")
]
PDF: Final = "application/pdf"
PRINTED: Final[Any] = {"response_class": Response, "responses": {200: {"content": {PDF: {}}}}}


class ToIssue(BaseModel):
    """Which month's invoices get numbers, for good."""

    model_config = ConfigDict(extra="forbid")

    month: Month
    owner: NameText | None = None
    """By name or id; null: everybody's."""


class InvoiceHead(BaseModel):
    """Money as exact decimals."""

    number: str | None = Field(description="null: a draft")
    issued_on: date | None
    owner: str
    month: str
    currency: str
    net: str
    vat: str
    to_pay: str = Field(description="In hundredths")


class InvoiceLine(BaseModel):
    is_late: bool = Field(description="Used in an earlier month, and known too late for its own")
    used_in: str
    alias: str
    price_input: str
    price_cached: str
    price_output: str
    requests: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    amount: str
    amount_micro: int


class InvoiceSeller(BaseModel):
    name: str
    address: str
    organisation_number: str
    vat_number: str | None


class InvoiceOut(InvoiceHead):
    """All of it, as it was issued, or as it would be now."""

    is_draft: bool
    seller: InvoiceSeller | None
    vat_percent: str | None
    total: str
    lines: list[InvoiceLine]


def add_invoice_routes(router: APIRouter, Books: Any, services: Services) -> None:
    def seller() -> Seller | None:
        """The registry's, as it is now."""
        entry = services.registry.seller
        return None if entry is None else seller_of(entry)

    @router.get("/invoices", summary="Issued invoices, the newest first")
    def list_invoices(
        books: Books,
        reach: Reached,
        owner: str | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        before: Annotated[str | None, Query(description="Only those before this number.")] = None,
    ) -> list[InvoiceHead]:
        name = reach.owner if owner is None else reach.owner_word(books, owner)
        if reach.owner not in (None, name):
            return []
        earlier = None if before is None else InvoiceNumber.read(before)
        return [_head(row) for row in newest(books, limit, earlier, name)]

    @router.get("/invoices/preview", summary="A month's invoices, issued and as they would be")
    def preview_invoices(
        books: Books,
        reach: Reached,
        month: Annotated[Month, Query()],
        owner: Annotated[str | None, Query(description="Whose; an owner's people's own.")] = None,
    ) -> list[InvoiceOut]:
        name = _owner(books, reach, owner)
        found = [*issued(books, name, month), *drafts(books, name, month, seller())]
        return [_whole(one) for one in found]

    @router.post("/invoices", summary="Issue a month's invoices: they never change again")
    def issue_invoices(body: ToIssue, books: Books, reach: Reached) -> list[InvoiceHead]:
        """Of a month that is over. What is issued already stays, and is part of the answer."""
        one = [] if body.owner is None else [reach.owner_level(books, body.owner).name]
        whose = one or owners(books, body.month)
        try:
            issue_all(books, whose, body.month, seller(), datetime.now(UTC).date())
        except LedgerUnavailable:
            raise
        except LedgerError as error:
            raise ApiError.invalid(str(error), None, None, str(error)) from None
        found = (each for name in whose for each in issued(books, name, body.month))
        return [InvoiceHead(**_whole(each).model_dump(include=HEAD)) for each in found]

    @router.get("/invoices/{number}.pdf", summary="One issued invoice, printed", **PRINTED)
    def print_invoice(number: str, books: Books, reach: Reached) -> Response:
        found = _numbered(books, reach, number)
        headers = {"Content-Disposition": f'inline; filename="{found.file_stem}.pdf"'}
        return Response(_pdf(found), media_type=PDF, headers=headers)

    @router.get("/invoices/{number}", summary="One issued invoice, with its lines")
    def show_invoice(number: str, books: Books, reach: Reached) -> InvoiceOut:
        return _whole(_numbered(books, reach, number))


HEAD: Final = set(InvoiceHead.model_fields)


def _owner(books: Database, reach: Reach, owner: str | None) -> str:
    """Raises OwnerNotFound, ApiError."""
    if (word := owner or reach.owner) is None:
        raise ApiError.invalid("owner: whose invoices?", "owner", None, "an owner's name or id")
    return reach.owner_level(books, word).name


def _numbered(books: Database, reach: Reach, number: str) -> Invoice:
    """Raises InvoiceNotFound."""
    found = numbered(books, number)
    if reach.owner not in (None, found.owner):
        raise InvoiceNotFound(f"There is no invoice {number!r}.")
    return found


def _head(row: NamedRow) -> InvoiceHead:
    return InvoiceHead(
        number=f"{row['year']}-{row['serial']:04d}",
        issued_on=row["issued_on"],
        owner=row["owner"],
        month=row["month"],
        currency=row["currency"],
        net=decimal_text(row["net"]),
        vat=decimal_text(row["vat"]),
        to_pay=decimal_text(row["to_pay"])[:-4],
    )


def _whole(invoice: Invoice) -> InvoiceOut:
    return InvoiceOut.model_validate(document(invoice))


def _pdf(invoice: Invoice) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "invoice.pdf")
        write_pdf(invoice, path)
        return path.read_bytes()
