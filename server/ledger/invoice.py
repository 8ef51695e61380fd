"""An invoice: who, for what, and its sums in whole micro-units; as text and for programs."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from engines.registry.seller import SellerEntry
from server.ledger.money import MICRO, decimal_text, money_text
from server.ledger.reports import SUMS, Line, Period, with_money

PRICES = ("price_input", "price_cached", "price_output")
HEAD = ("Model", "Requests", "Input", "Cached", "Output", "Price per M (in/cached/out)", "Amount")
CENT = MICRO // 100
NOTE = (
    "Prices are per million tokens, days are UTC. Each request is rounded half up to a millionth "
    "of {currency}, the net sum is the exact sum of all requests; VAT is rounded half up to a "
    "millionth, what is to be paid half up to a hundredth."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seller:
    """Whose name stands on invoices."""

    name: str
    address: str
    organisation_number: str
    vat_number: str | None
    vat_rate: int
    """Millionths of a percent."""


def seller_of(entry: SellerEntry) -> Seller:
    return Seller(
        name=entry.name,
        address=entry.address,
        organisation_number=entry.organisation_number,
        vat_number=entry.vat_number,
        vat_rate=entry.vat_percent,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """One owner's use in a month, in one currency. Without a number it is a draft."""

    owner: str
    month: str
    """As 2026-10."""
    currency: str
    lines: Sequence[Line]
    """By month of use, alias and prices; those of earlier months came late."""
    net: int
    vat: int
    to_pay: int
    seller: Seller | None
    number: str | None = None
    issued_on: date | None = None

    @property
    def title(self) -> str:
        return "Draft, not an invoice" if self.number is None else f"Invoice {self.number}"

    @property
    def file_stem(self) -> str:
        if self.number is None:
            return f"draft-{self.owner}-{self.month}-{self.currency}"
        return f"invoice-{self.number}"

    @property
    def period(self) -> Period:
        return Period.month(int(self.month[:4]), int(self.month[5:]))


def summed(
    owner: str, month: str, currency: str, lines: Sequence[Line], seller: Seller | None
) -> Invoice:
    """A draft with its sums."""
    net = sum(line["amount"] for line in lines)
    vat = 0 if seller is None else vat_of(net, seller.vat_rate)
    return Invoice(
        owner=owner,
        month=month,
        currency=currency,
        lines=lines,
        net=net,
        vat=vat,
        to_pay=in_cents(net + vat),
        seller=seller,
    )


def vat_of(net: int, rate: int) -> int:
    """`rate`: millionths of a percent. Rounded half up to a micro-unit, once an invoice."""
    return (net * rate + 50 * MICRO) // (100 * MICRO)


def in_cents(micro: int) -> int:
    """Rounded half up to a hundredth, in micro-units."""
    return (micro + CENT // 2) // CENT * CENT


def short(micro: int) -> str:
    """A price without the zeros at its end."""
    return decimal_text(micro).rstrip("0").rstrip(".")


def heading(invoice: Invoice) -> list[tuple[str, str]]:
    period = invoice.period
    lines = [("Customer", invoice.owner), ("Period", f"{period.first} to {period.last} (UTC)")]
    if invoice.issued_on is not None:
        lines.insert(0, ("Date of issue", invoice.issued_on.isoformat()))
    return [*seller_lines(invoice.seller), *lines]


def seller_lines(seller: Seller | None) -> list[tuple[str, str]]:
    if seller is None:
        return []
    numbers = [("Organisation no.", seller.organisation_number), ("VAT no.", seller.vat_number)]
    named = [("Seller", seller.name), ("Address", seller.address), *numbers]
    return [(name, value) for name, value in named if value]


def sums(invoice: Invoice) -> list[tuple[str, str]]:
    currency = invoice.currency
    if invoice.seller is None:
        return [("Total without VAT", money_text(invoice.net, currency))]
    return [
        ("Net", money_text(invoice.net, currency)),
        (f"VAT {short(invoice.seller.vat_rate)} %", money_text(invoice.vat, currency)),
        ("Total", money_text(invoice.net + invoice.vat, currency)),
        ("To pay", f"{decimal_text(invoice.to_pay)[:-4]} {currency}"),
    ]


def rows(invoice: Invoice) -> list[tuple[str, ...]]:
    """The lines as text, under HEAD. Cached tokens are part of the input."""
    return [
        (
            line["alias"] if line["month"] == invoice.month else f"{line['alias']} ({late(line)})",
            f"{line['requests']:,}",
            f"{line['prompt_tokens']:,}",
            f"{line['cached_tokens']:,}",
            f"{line['completion_tokens']:,}",
            " / ".join(short(line[name]) for name in PRICES),
            decimal_text(line["amount"]),
        )
        for line in invoice.lines
    ]


def late(line: Line) -> str:
    return f"late, of {line['month']}"


def table_lines(invoice: Invoice) -> Iterator[Line]:
    """A line a line, for CSV: each with whose it is."""
    for line in invoice.lines:
        yield with_money(
            {
                "number": invoice.number or "draft",
                "owner": invoice.owner,
                "month": invoice.month,
                "used_in": line["month"],
                "alias": line["alias"],
                **{name: decimal_text(line[name]) for name in PRICES},
                "currency": invoice.currency,
                **{name: line[name] for name in SUMS},
            }
        )


def document(invoice: Invoice) -> dict[str, Any]:
    """All of it, for JSON: money as exact decimals."""
    seller = {} if invoice.seller is None else asdict(invoice.seller)
    rate = seller.pop("vat_rate", None)
    return {
        "number": invoice.number,
        "is_draft": invoice.number is None,
        "issued_on": invoice.issued_on and invoice.issued_on.isoformat(),
        "owner": invoice.owner,
        "month": invoice.month,
        "currency": invoice.currency,
        "seller": seller or None,
        "lines": [
            {"is_late": line["used_in"] != invoice.month, **line} for line in table_lines(invoice)
        ],
        "net": decimal_text(invoice.net),
        "vat_percent": None if rate is None else short(rate),
        "vat": decimal_text(invoice.vat),
        "total": decimal_text(invoice.net + invoice.vat),
        "to_pay": decimal_text(invoice.to_pay)[:-4],
    }
