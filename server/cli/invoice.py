"""`fjord invoice`: an owner's invoice, printed and as a PDF."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from server.cli.apps import new_app
from server.cli.options import DEFAULT_DIR, DataDir, LedgerUrl, failed
from server.cli.periods import First, Last, Month, open_reports, period_of
from server.ledger.invoice import HEAD, Invoice, invoices, rows, write_pdf
from server.ledger.money import money_text

app = new_app()


@app.command()
def invoice(
    owner: Annotated[str, typer.Option(help="Who is billed.")],
    month: Month = None,
    first: First = None,
    last: Last = None,
    out: Annotated[Path, typer.Option(help="The folder for the PDF, one a currency.")] = Path("."),
    data_dir: DataDir = DEFAULT_DIR,
    ledger_url: LedgerUrl = None,
) -> None:
    """Print and write an owner's invoice.

    Its total is the exact sum of the records.
    """
    period = period_of(month, first, last)
    with open_reports(data_dir, ledger_url) as database:
        found = invoices(database, owner, period)
    if not found:
        raise failed(f"{owner!r} has used nothing from {period.first} to {period.last}.")
    for one in found:
        path = out / f"invoice-{file_name(one.number)}.pdf"
        try:
            out.mkdir(parents=True, exist_ok=True)
            write_pdf(one, path)
        except OSError as error:
            raise failed(f"The invoice {path} cannot be written: {error}.") from None
        show_invoice(one)
        typer.echo(f"Written to {path}")


def show_invoice(one: Invoice) -> None:
    console = Console()
    table = Table(title=f"Invoice {escape(one.number)}")
    for name in HEAD:
        table.add_column(name, justify="left" if name == "Model" else "right")
    for row in rows(one):
        table.add_row(*(escape(text) for text in row))
    console.print(table)
    console.print(f"Total {money_text(one.total, one.currency)}", highlight=False)


def file_name(text: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in text)
