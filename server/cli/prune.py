"""`fjord prune`: deletes old usage records, on request only."""

from typing import Annotated

import typer

from server.cli.apps import new_app
from server.cli.asking import ask
from server.cli.options import DEFAULT_DIR, DataDir, LedgerUrl
from server.cli.periods import day_of, open_reports
from server.ledger.retention import prune as prune_records

app = new_app()
_ALONE = "fjord prune deletes only what it is told to: at no terminal, with --yes."


@app.command()
def prune(
    before: Annotated[str, typer.Option(help="Delete what began before this day.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data_dir: DataDir = DEFAULT_DIR,
    ledger_url: LedgerUrl = None,
) -> None:
    """Delete old records. Sums, budgets and invoices keep counting them. Export them first."""
    day = day_of(before, "--before")
    with open_reports(data_dir, ledger_url, writing=True) as database:
        if not yes:
            ask(f"Delete every usage record from before {day}?", _ALONE)
        count = prune_records(database, day)
    typer.echo(f"Deleted {count} records from before {day}.")
