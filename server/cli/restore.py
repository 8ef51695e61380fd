"""`fjord restore`: a backup becomes the ledger of a data directory."""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from server.cli.apps import new_app
from server.cli.backup import told_of
from server.cli.options import DEFAULT_DIR, DataDir
from server.cli.trouble import told
from server.ledger.restoring import MOST_NAMED, Lost, Restore
from server.ledger.serving_lock import ServingLock
from server.refusal import CannotStart

app = new_app()


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `fjord backup` wrote.")],
    check: Annotated[
        bool, typer.Option("--check", help="Say what it holds and would change, and stop.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data_dir: DataDir = DEFAULT_DIR,
) -> None:
    """Make FILE the ledger again, with no server running. The present one is kept."""
    with told(), _alone(data_dir):
        restoring = Restore(file, data_dir)
        found, lost = restoring.prepare()
        try:
            typer.echo(f"{file} holds {told_of(found)}.")
            for line in _lines(lost):
                typer.echo(line)
            if check:
                return
            if lost and not yes:
                _ask()
            kept = restoring.complete()
        finally:
            restoring.drop()
    typer.echo(f"It is the ledger of {data_dir} now.")
    if kept is not None:
        typer.echo(f"What was there lies in {kept}.")


@contextlib.contextmanager
def _alone(data_dir: Path) -> Iterator[None]:
    """Raises LedgerInUse while a server runs, which finds it held meanwhile."""
    data_dir.mkdir(parents=True, exist_ok=True)
    lock = ServingLock(data_dir)
    lock.take()
    try:
        yield
    finally:
        lock.release()


def _lines(lost: Lost) -> Iterator[str]:
    if lost.records:
        yield f"It lacks {lost.records:,} of the present records."
    if lost.invoices:
        numbers = _named(lost.invoices)
        yield f"It lacks issued invoices, whose numbers would be given again: {numbers}."
    if lost.audited:
        yield f"Of the present audit log it lacks entries: {lost.audited:,}."
    if lost.keys:
        yield f"Keys made, changed or revoked since are as they were then: {_named(lost.keys)}."


def _named(names: Sequence[str]) -> str:
    return ", ".join(names) + (", …" if len(names) == MOST_NAMED else "")


def _ask() -> None:
    """Raises Abort for a no, and CannotStart where there is nobody to ask."""
    if not sys.stdin.isatty():
        raise CannotStart("The present ledger has more than the backup: at no terminal say --yes.")
    typer.confirm("Restore it all the same?", abort=True)
