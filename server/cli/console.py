"""`fjord console`: the way in for whoever may read the data directory."""

import typer

from server.cli.apps import new_app
from server.cli.console_link import first_admin_link
from server.cli.options import DEFAULT_DIR, DataDir, LedgerUrl
from server.cli.server_address import console_address
from server.cli.tenant_books import changing_books

app = new_app(no_args_is_help=True, help="The console of a server.")


@app.callback()
def console() -> None:
    """`link` is a command of its own."""


@app.command()
def link(data_dir: DataDir = DEFAULT_DIR, ledger_url: LedgerUrl = None) -> None:
    """Show the link that makes the first admin: it is good once, for a day.

    Where an admin can sign in already, `fjord members invite NAME` makes links.
    """
    with changing_books(data_dir, ledger_url) as books:
        url = first_admin_link(books, data_dir, console_address(data_dir))
    if url is None:
        typer.echo(
            "An admin of this site can sign in already. `fjord members invite NAME` makes a link "
            "by which a member sets a password.",
            err=True,
        )
        raise typer.Exit(1)
    typer.echo(url)
