"""`fjord forget`: destroys all that is kept of an owner, on request only."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from server.cli.apps import new_app
from server.cli.asking import ask
from server.cli.options import DEFAULT_DIR, DataDir, LedgerUrl
from server.cli.periods import open_reports
from server.idempotency.forgetting import forget_owner as forget_answers
from server.ledger.audit import note
from server.ledger.owner_store import OwnerStore
from server.memory.database import SharedMemory
from server.memory.errors import MemoryTrouble
from server.memory.memory import forget_owner
from server.refusal import CannotStart

app = new_app()
_ALONE = "fjord forget destroys only what it is told to: at no terminal, with --yes."


@app.command()
def forget(
    owner: Annotated[str, typer.Argument(help="Whose, by name or id.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data_dir: DataDir = DEFAULT_DIR,
    ledger_url: LedgerUrl = None,
) -> None:
    """Destroy all that is kept of an owner, on request only."""
    with open_reports(data_dir, ledger_url, writing=True) as database:
        owner = OwnerStore(database).name_of(owner)
    if not yes:
        ask(f"Destroy all responses and conversations of {owner!r} for ever?", _ALONE)
    try:
        with open_reports(data_dir, ledger_url, writing=True) as database:
            if OwnerStore(database).find(owner) is not None:
                note(database, "owner.forget", owner)
        count = forget_owner(data_dir, ledger_url, owner)
        answers = _answers(data_dir, ledger_url, owner)
    except MemoryTrouble as error:
        raise CannotStart(f"{error}") from None
    except (OSError, sqlite3.Error) as error:
        raise CannotStart(f"The answers kept for keys cannot be destroyed: {error}") from None
    typer.echo(f"Destroyed {count} responses and conversations of {owner}.")
    if answers:
        typer.echo(f"Destroyed {answers} answers that were kept for an Idempotency-Key.")


def _answers(data_dir: Path, ledger_url: str | None, owner: str) -> int:
    """Raises MemoryTrouble, OSError, sqlite3.Error."""
    if ledger_url is None:
        return forget_answers(data_dir, None, owner)
    with closing(SharedMemory(ledger_url)) as site:
        return forget_answers(data_dir, site.transaction, owner)
