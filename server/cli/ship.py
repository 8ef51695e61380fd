"""`fjord ship`: what a site's database refused, once more."""

from contextlib import closing
from typing import Annotated

import typer

from server.cli.apps import new_app
from server.cli.options import DEFAULT_DIR, DataDir, failed
from server.cli.trouble import told
from server.ledger.open_books import open_books
from server.ledger.shipping import retry_set_aside

app = new_app()


@app.command()
def ship(
    retry: Annotated[
        bool, typer.Option("--retry", help="Ship the records that were set aside.")
    ] = False,
    data_dir: DataDir = DEFAULT_DIR,
) -> None:
    """--retry: ship once more what a site's database refused."""
    if not retry:
        raise failed("Say --retry: all but what was set aside is shipped by the server itself.")
    with told(), closing(open_books(data_dir, None)) as database:
        count = retry_set_aside(database)
    typer.echo(f"{count} records are shipped once more by the server of {data_dir}.")
