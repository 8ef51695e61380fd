"""`fjord invoice`: a month's invoices, as drafts and issued; printed, for programs, and as PDFs."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import typer

from engines.registry.file import RegistryError, read_registry_file
from server.cli.apps import new_app
from server.cli.options import DEFAULT_DIR, DataDir, LedgerUrl, failed
from server.cli.periods import Month, open_reports, period_of
from server.cli.registry_choice import registry_path
from server.cli.tables import Column, show_fields, show_table
from server.cli.trouble import whole
from server.ledger.database import Database
from server.ledger.export import csv_text, json_text
from server.ledger.invoice import (
    HEAD,
    NOTE,
    Invoice,
    Seller,
    document,
    heading,
    rows,
    seller_of,
    sums,
    table_lines,
)
from server.ledger.invoice_pdf import write_pdf
from server.ledger.invoicing import drafts, issue_all, issued, owners
from server.ledger.owner_store import OwnerStore

app = new_app()

NAME_BYTES = 180


@app.command()
def invoice(
    owner: Annotated[
        str | None, typer.Option(help="Who is billed, by name or id. [default: all]")
    ] = None,
    month: Month = None,
    wants_issue: Annotated[
        bool, typer.Option("--issue", help="Number and keep them; they never change again.")
    ] = False,
    out: Annotated[Path, typer.Option(help="The folder for the PDFs.")] = Path("."),
    as_csv: Annotated[bool, typer.Option("--csv", help="The lines instead, as CSV.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array instead.")] = False,
    registry: Annotated[
        Path | None,
        typer.Option(
            envvar="FJORD_REGISTRY", help="Names the seller. [default: model_registry.yaml]"
        ),
    ] = None,
    data_dir: DataDir = DEFAULT_DIR,
    ledger_url: LedgerUrl = None,
) -> None:
    """A month's invoices: print them, and write a PDF each.

    Drafts until they are issued, which a closed month's can be. One a currency.
    """
    of_month = period_of(month, None, None).first.isoformat()[:7]
    seller = seller_in(registry)
    with open_reports(data_dir, ledger_url, writing=wants_issue) as database:
        whose = owners(database, of_month)
        if owner is not None:
            whose = [OwnerStore(database).name_of(owner)]
        if wants_issue:
            issue_all(database, whose, of_month, seller, datetime.now(UTC).date())
        found = [one for each in whose for one in invoices(database, each, of_month, seller)]
    if as_csv:
        sys.stdout.writelines(csv_text(line for one in found for line in table_lines(one)))
    elif as_json:
        sys.stdout.writelines(json_text(map(document, found)))
    elif found:
        show_and_write(found, out)
    else:
        raise failed(f"There is nothing to invoice {owner or 'anybody'} for in {of_month}.")


def seller_in(registry: Path | None) -> Seller | None:
    try:
        entry = read_registry_file(registry_path(registry)).file.seller
    except RegistryError as error:
        raise failed(str(error)) from None
    return None if entry is None else seller_of(entry)


def invoices(
    database: Database, owner: str, month: str, seller: Seller | None
) -> Iterator[Invoice]:
    """The issued ones, and drafts of what is not."""
    yield from issued(database, owner, month)
    yield from drafts(database, owner, month, seller)


def show_and_write(found: list[Invoice], out: Path) -> None:
    for one in found:
        path = out / f"{file_name(one.file_stem)}.pdf"
        with whole(path) as part:
            write_pdf(one, part)
        show_invoice(one)
        typer.echo(f"Written to {path}\n")


def show_invoice(one: Invoice) -> None:
    typer.secho(one.title, bold=True)
    show_fields(heading(one))
    typer.echo()
    columns = [Column(name, is_number=name != "Model") for name in HEAD]
    show_table(columns, rows(one))
    typer.echo()
    show_fields(sums(one))
    typer.echo(NOTE.format(currency=one.currency))


def file_name(text: str) -> str:
    """Of no other text, and short enough for every file system."""
    plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in text)
    if plain == text and len(text.encode()) <= NAME_BYTES:
        return text
    cut = plain.encode()[:NAME_BYTES].decode(errors="ignore")
    return f"{cut}-{sha256(text.encode()).hexdigest()[:8]}"
