"""`fjord backup`: a copy of the ledger, of a server that runs or not."""

import time
from pathlib import Path
from typing import Annotated

import typer

from server.cli.apps import new_app
from server.cli.options import DEFAULT_DIR, DataDir
from server.cli.trouble import told, whole
from server.ledger import sqlite
from server.ledger.backup import Contents, back_up, contents

app = new_app()


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the copy goes.")],
    data_dir: DataDir = DEFAULT_DIR,
) -> None:
    """Copy the ledger into FILE, also while a server uses it. An older FILE is replaced."""
    with told():
        ledger = sqlite.existing_ledger(data_dir)
        with whole(file, mode=0o600) as part:
            back_up(ledger, part)
            found = contents(part)
    size = file.stat().st_size / 2**20
    typer.echo(f"{file} holds {told_of(found)}: {size:,.1f} MiB.")


def told_of(found: Contents) -> str:
    """In words."""
    counts = [
        _count(found.records, "record"),
        _count(found.keys, "key"),
        _count(found.invoices, "invoice"),
    ]
    if found.open_requests:
        counts.append(_count(found.open_requests, "running request"))
    newest = f", the newest of {when(found.newest_at)}" if found.newest_at else ""
    return ", ".join(counts[:-1]) + f" and {counts[-1]}{newest}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def when(at: float) -> str:
    """A moment, to the second, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
