"""Brings a database to the schema this code knows; alembic is imported only when it must move.

Whoever makes or moves a schema notes in it which fjord that was, and the oldest schema whose fjord
may still read it: so an older one refuses to write, says which fjord made it, and can still report.
"""

import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server import __version__
from server.ledger.errors import LedgerError

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

HEAD = "0014"
"""The newest step under migrations/versions."""
READABLE_FROM = "0001"
"""The oldest schema whose fjord can read one of HEAD: a step that takes away or renames what
reports and invoices read makes it its own."""

MADE_BY, READABLE = "schema_made_by", "schema_readable_from"
VERSION = "SELECT version_num FROM alembic_version"
NOTES = f"SELECT name, value FROM meta WHERE name IN ('{MADE_BY}', '{READABLE}')"
MOST_SHOWN = 40
WAIT_MS = 120_000
"""For another start's migration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """What a database says of its own schema. Versions before notes left none."""

    version: str | None
    """None: nothing is there yet."""
    made_by: str | None = None
    """The version of fjord."""
    readable_from: str | None = None

    def is_behind(self, where: str) -> bool:
        """Whether `where` must be migrated. Raises for a schema newer than this code."""
        if self.is_newer():
            raise LedgerError(self.refusal(where))
        return self.version != HEAD

    def is_newer(self) -> bool:
        return self.version is not None and self.version > HEAD

    def check_readable(self, where: str) -> None:
        """Raises where a schema newer than this code holds what it would not understand."""
        if self.readable_from is None or self.readable_from > HEAD:
            raise LedgerError(self.refusal(where))

    def refusal(self, where: str) -> str:
        by = f"fjord {self.made_by[:MOST_SHOWN]}" if self.made_by else "a newer fjord"
        return (
            f"{where} has schema {str(self.version)[:MOST_SHOWN]}, made by {by}, and this fjord "
            f"({__version__}) knows up to {HEAD}: use {by if self.made_by else 'that one'}, or "
            "restore a backup from before it."
        )


def told(read: Callable[[str], Iterable[Any]]) -> Schema:
    """`read` gives the rows of a statement."""
    versions = [row[0] for row in read(VERSION)]
    notes = dict(read(NOTES)) if versions else {}
    return Schema(
        version=str(versions[0]) if versions else None,
        made_by=notes.get(MADE_BY),
        readable_from=notes.get(READABLE),
    )


def sqlite_schema(connection: sqlite3.Connection) -> Schema:
    try:
        return told(connection.execute)
    except sqlite3.OperationalError as error:
        if "no such table: alembic_version" in str(error):
            return Schema(version=None)
        raise


def migrate(url: str, step: str = "head") -> None:
    """Run the missing steps, up to `step`, on the database at `url` (SQLAlchemy's form). Safe to
    run twice."""
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        wait_for_turn(connection)
        run_steps(connection, step)
        if step == "head":
            note_maker(connection)
        connection.commit()


def wait_for_turn(connection: "Connection") -> None:
    """Two starts at once: the second waits, and then finds nothing to do."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(712305)")
    else:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {WAIT_MS}")
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def run_steps(connection: "Connection", step: str) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, step)


def note_maker(connection: "Connection") -> None:
    from sqlalchemy import text

    note = text(
        "INSERT INTO meta (name, value) VALUES (:name, :value)"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value"
    )
    for name, value in ((MADE_BY, __version__), (READABLE, READABLE_FROM)):
        connection.execute(note, {"name": name, "value": value})
