"""Options that several commands take, and how a command fails."""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

DEFAULT_DIR = Path("data")
DataDir: TypeAlias = Annotated[
    Path, typer.Option("--data-dir", envvar="FJORD_DATA_DIR", help="Where the ledger lies.")
]
LedgerUrl: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--ledger-url", envvar="FJORD_LEDGER_URL", help="The site's postgresql://… instead."
    ),
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="One JSON document.")]


def failed(message: str) -> typer.Exit:
    """To be raised: the message on stderr, exit status 2."""
    for line in message.splitlines():
        typer.echo(f"fjord: {line}", err=True)
    return typer.Exit(2)
