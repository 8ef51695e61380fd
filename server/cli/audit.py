"""`fjord audit`: who changed what; the log is verified, shown and exported."""

import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from server.cli.apps import new_app
from server.cli.options import DEFAULT_DIR, DataDir, LedgerUrl
from server.cli.periods import open_reports
from server.cli.tables import Column, show_table
from server.ledger.audit import MOST_SHOWN, AuditEntry, entries, newest, verified
from server.ledger.audit_lines import exported, moment
from server.ledger.database import Database
from server.ledger.export import csv_text, json_text

app = new_app(no_args_is_help=True, help="Who changed what: verify, show, export.")

COLUMNS = [
    Column("number", is_number=True),
    *map(Column, ("when", "who", "from", "what")),
    Column("to", is_long=True),
]


@app.command()
def verify(
    head: Annotated[
        str | None, typer.Option(help="A head that was told before, as 12:9f86d0…")
    ] = None,
    data_dir: DataDir = DEFAULT_DIR,
    ledger_url: LedgerUrl = None,
) -> None:
    """Check that no entry was changed, taken out or put in; tell the head.

    A head that is noted elsewhere proves, with --head, that nothing was cut off the end either.
    """
    with open_reports(data_dir, ledger_url) as database:
        last = verified(database, head)
    if last is None:
        typer.echo("The audit log is empty.")
    else:
        typer.echo(f"{last.number} entries, each as it was written. Head: {last.head}")


@app.command("list")
def list_entries(
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="The most that are shown.")] = 50,
    action: Annotated[
        str | None, typer.Option(help="Only of an action (key.create), or of a kind (key).")
    ] = None,
    data_dir: DataDir = DEFAULT_DIR,
    ledger_url: LedgerUrl = None,
) -> None:
    """The newest entries, the last one first."""
    with open_reports(data_dir, ledger_url) as database:
        found = newest(database, limit, action=action)
    if not found:
        typer.echo("The audit log has no such entry.")
        return
    show_table(COLUMNS, [_row(entry) for entry in found])


@app.command()
def export(
    after: Annotated[int, typer.Option(min=0, help="Only entries behind this number.")] = 0,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV instead of JSON.")] = False,
    data_dir: DataDir = DEFAULT_DIR,
    ledger_url: LedgerUrl = None,
) -> None:
    """All entries in order, with what was before and after, as one JSON array or CSV."""
    with open_reports(data_dir, ledger_url) as database:
        lines = _lines(database, after)
        sys.stdout.writelines(csv_text(lines) if as_csv else json_text(lines))


def _lines(database: Database, after: int) -> Iterator[dict[str, Any]]:
    return (exported(entry) for entry in entries(database, after))


def _row(entry: AuditEntry) -> list[str]:
    return [
        str(entry.number),
        moment(entry)[:19].replace("T", " "),
        entry.actor if entry.actor_kind == "command" else f"{entry.actor_kind} {entry.actor}",
        entry.address or "-",
        entry.action,
        entry.target[:MOST_SHOWN],
    ]
