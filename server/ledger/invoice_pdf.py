"""An invoice as a PDF: the same invoice is the same file, byte for byte."""

from pathlib import Path
from typing import Any

from server.ledger.invoice import HEAD, NOTE, Invoice, heading, rows, sums


def write_pdf(invoice: Invoice, path: Path) -> None:
    """One or more A4 pages. Raises OSError where `path` cannot be written."""
    from reportlab.lib.pagesizes import A4
    from reportlab.platypus import SimpleDocTemplate

    document = SimpleDocTemplate(
        str(path),
        pagesize=A4,
        title=invoice.title,
        author="Fjord" if invoice.seller is None else invoice.seller.name,
        leftMargin=48,
        rightMargin=48,
        invariant=1,  # no time of its making
    )
    document.build(flowables(invoice))


def flowables(invoice: Invoice) -> list[Any]:
    from reportlab.lib.styles import getSampleStyleSheet
    from reportlab.platypus import Paragraph, Spacer

    styles = getSampleStyleSheet()
    return [
        Paragraph(invoice.title, styles["Title"]),
        *(paragraph(f"{name}: {value}") for name, value in heading(invoice)),
        Spacer(1, 18),
        lines_table(invoice),
        Spacer(1, 18),
        Paragraph(NOTE.format(currency=invoice.currency), styles["Italic"]),
    ]


def paragraph(text: str, size: int = 10) -> Any:
    from xml.sax.saxutils import escape

    from reportlab.lib.styles import getSampleStyleSheet
    from reportlab.platypus import Paragraph

    style = getSampleStyleSheet()["Normal"]
    style.fontSize = size
    return Paragraph(escape(text), style)


def lines_table(invoice: Invoice) -> Any:
    from reportlab.lib import colors
    from reportlab.platypus import Table, TableStyle

    body = [(paragraph(row[0], 8), *row[1:]) for row in rows(invoice)]
    ends = [(name, "", "", "", "", "", value) for name, value in sums(invoice)]
    table = Table([HEAD, *body, *ends], repeatRows=1, colWidths=(105, 48, 60, 60, 60, 92, 82))
    table.setStyle(
        TableStyle(
            [
                ("FONTSIZE", (0, 0), (-1, -1), 7),
                ("FONTNAME", (0, 0), (-1, 0), "Helvetica-Bold"),
                ("FONTNAME", (0, -1), (-1, -1), "Helvetica-Bold"),
                ("ALIGN", (1, 0), (-1, -1), "RIGHT"),
                ("LINEBELOW", (0, 0), (-1, 0), 0.5, colors.black),
                ("LINEABOVE", (0, -len(ends)), (-1, -len(ends)), 0.5, colors.black),
            ]
        )
    )
    return table
