"""The books of keys and what is above them: to be read, or changed where they are kept."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from server.cli.trouble import told
from server.ledger.database import Database
from server.ledger.errors import LedgerError
from server.ledger.meta import KEYS_OF_SITE, remembered
from server.ledger.open_books import open_books


@contextmanager
def tenant_books(data_dir: Path, ledger_url: str | None) -> Iterator[Database]:
    """Raises typer.Exit, also for what is done with them."""
    with told(), closing(open_books(data_dir, ledger_url)) as database:
        yield database


@contextmanager
def changing_books(data_dir: Path, ledger_url: str | None) -> Iterator[Database]:
    """Raises typer.Exit, also where they are a copy."""
    with tenant_books(data_dir, ledger_url) as database:
        if remembered(database, KEYS_OF_SITE) is not None:
            raise LedgerError(
                "This node belongs to a site, whose keys would overwrite the change: give its "
                "--ledger-url. Nothing was changed. (A node that has left its site has keys of its "
                "own once it was started without one.)"
            )
        yield database
