"""An owner's invoice for a period: its lines add up to the records, to the last micro-unit."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server.ledger.database import Database
from server.ledger.money import decimal_text
from server.ledger.reports import Line, Only, Period, usage

PRICES = ("price_input", "price_cached", "price_output")
HEAD = ("Model", "Requests", "Input", "Cached", "Output", "Price per M (in/cached/out)", "Amount")


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """One currency's lines, by alias and price."""

    owner: str
    period: Period
    currency: str
    lines: Sequence[Line]

    @property
    def number(self) -> str:
        """The same owner, month and currency always have the same number."""
        return f"{self.period.first:%Y%m%d}-{self.period.last:%Y%m%d}-{self.owner}-{self.currency}"

    @property
    def total(self) -> int:
        return sum(line["amount"] for line in self.lines)


def invoices(database: Database, owner: str, period: Period) -> list[Invoice]:
    """One invoice a currency; none where nothing was used. Requests that were refused, and so used
    and cost nothing, are no lines of it."""
    lines = [
        line
        for line in usage(database, period, ("alias",), Only(owner=owner), PRICES)
        if line["amount"] or line["prompt_tokens"] or line["completion_tokens"]
    ]
    return [
        Invoice(
            owner=owner,
            period=period,
            currency=currency,
            lines=[line for line in lines if line["currency"] == currency],
        )
        for currency in sorted({line["currency"] for line in lines})
    ]


def rows(invoice: Invoice) -> list[tuple[str, ...]]:
    """The lines as text, under HEAD. Cached tokens are part of the input."""
    return [
        (
            line["alias"],
            f"{line['requests']:,}",
            f"{line['prompt_tokens']:,}",
            f"{line['cached_tokens']:,}",
            f"{line['completion_tokens']:,}",
            " / ".join(short(line[name]) for name in PRICES),
            decimal_text(line["amount"]),
        )
        for line in invoice.lines
    ]


def short(micro: int) -> str:
    """A price without the zeros at its end."""
    return decimal_text(micro).rstrip("0").rstrip(".")


def write_pdf(invoice: Invoice, path: Path) -> None:
    """One or more A4 pages. Raises OSError where `path` cannot be written."""
    from reportlab.lib.pagesizes import A4
    from reportlab.platypus import SimpleDocTemplate

    document = SimpleDocTemplate(
        str(path),
        pagesize=A4,
        title=f"Invoice {invoice.number}",
        author="Fjord",
        leftMargin=48,
        rightMargin=48,
        invariant=1,  # the same invoice is the same file
    )
    document.build(flowables(invoice))


def flowables(invoice: Invoice) -> list[Any]:
    from xml.sax.saxutils import escape

    from reportlab.lib.styles import getSampleStyleSheet
    from reportlab.platypus import Paragraph, Spacer

    styles = getSampleStyleSheet()
    period = invoice.period
    return [
        Paragraph("Invoice", styles["Title"]),
        Paragraph(f"Number: {escape(invoice.number)}", styles["Normal"]),
        Paragraph(f"Customer: {escape(invoice.owner)}", styles["Normal"]),
        Paragraph(f"Period: {period.first} to {period.last} (UTC)", styles["Normal"]),
        Spacer(1, 18),
        lines_table(invoice),
        Spacer(1, 18),
        Paragraph(
            "Prices are per million tokens. Each request is rounded half up to a millionth of "
            f"{invoice.currency}; the total is the exact sum of all requests. No tax is included.",
            styles["Italic"],
        ),
    ]


def lines_table(invoice: Invoice) -> Any:
    from xml.sax.saxutils import escape

    from reportlab.lib import colors
    from reportlab.lib.styles import getSampleStyleSheet
    from reportlab.platypus import Paragraph, Table, TableStyle

    style = getSampleStyleSheet()["Normal"]
    style.fontSize = 8
    body = [(Paragraph(escape(row[0]), style), *row[1:]) for row in rows(invoice)]
    total = ("Total", "", "", "", "", "", f"{decimal_text(invoice.total)} {invoice.currency}")
    table = Table([HEAD, *body, total], repeatRows=1, colWidths=(105, 48, 60, 60, 60, 92, 82))
    table.setStyle(
        TableStyle(
            [
                ("FONTSIZE", (0, 0), (-1, -1), 7),
                ("FONTNAME", (0, 0), (-1, 0), "Helvetica-Bold"),
                ("FONTNAME", (0, -1), (-1, -1), "Helvetica-Bold"),
                ("ALIGN", (1, 0), (-1, -1), "RIGHT"),
                ("LINEBELOW", (0, 0), (-1, 0), 0.5, colors.black),
                ("LINEABOVE", (0, -1), (-1, -1), 0.5, colors.black),
            ]
        )
    )
    return table
