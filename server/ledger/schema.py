"""Brings a database to the schema this code knows; alembic is imported only when it must move."""

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from server.ledger.errors import LedgerError

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

HEAD = "0004"
"""The newest step under migrations/versions."""


def check_version(found: str | None, where: str) -> bool:
    """Whether `where` must be migrated. Raises for a schema newer than this code."""
    if found is not None and found > HEAD:
        raise LedgerError(
            f"{where} has schema {found}, and this version of fjord knows up to {HEAD}: "
            "start the newer fjord that wrote it."
        )
    return found != HEAD


def sqlite_version(connection: sqlite3.Connection) -> str | None:
    try:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return None
        raise
    return str(row[0]) if row else None


def migrate(url: str, step: str = "head") -> None:
    """Run the missing steps, up to `step`, on the database at `url` (SQLAlchemy's form). Safe to
    run twice."""
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        wait_for_turn(connection)
        run_steps(connection, step)
        connection.commit()


def wait_for_turn(connection: "Connection") -> None:
    """Two starts at once: the second waits, and then finds nothing to do."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(712305)")
    else:
        connection.exec_driver_sql("PRAGMA busy_timeout = 10000")
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def run_steps(connection: "Connection", step: str) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, step)
