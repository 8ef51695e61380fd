"""A site's PostgreSQL: connected, and brought to the newest schema."""

from contextlib import closing
from typing import TYPE_CHECKING, Any

from server.ledger import schema
from server.ledger.database import PostgresDatabase
from server.ledger.errors import LedgerUnavailable

if TYPE_CHECKING:
    import psycopg

CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT_S = 30


def migrated(url: str) -> None:
    """Make or migrate the site's tables. Raises LedgerUnavailable."""
    with closing(connect(url)) as connection:
        is_behind = schema.check_version(schema_version(connection), described(connection))
    if is_behind:
        schema.migrate(sqlalchemy_url(url))


def open_database(url: str) -> PostgresDatabase:
    """The site's database at the newest schema. Raises LedgerUnavailable."""
    migrated(url)
    return PostgresDatabase(connect(url))


def connect(url: str) -> "psycopg.Connection[tuple[Any, ...]]":
    """A connection that notices a dead network and a stuck statement within half a minute."""
    import psycopg

    try:
        return psycopg.connect(
            url,
            autocommit=True,
            connect_timeout=CONNECT_TIMEOUT_S,
            options=f"-c statement_timeout={STATEMENT_TIMEOUT_S * 1000}",
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=3,
            tcp_user_timeout=10_000,
        )
    except (psycopg.Error, OSError) as error:
        raise LedgerUnavailable(
            f"The site's database cannot be reached: {one_line(error)}"
        ) from None


def schema_version(connection: "psycopg.Connection[tuple[Any, ...]]") -> str | None:
    if not connection.execute("SELECT to_regclass('alembic_version') IS NOT NULL").fetchone()[0]:  # type: ignore[index]
        return None
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(row[0]) if row else None


def sqlalchemy_url(url: str) -> str:
    return "postgresql+psycopg:" + url.partition(":")[2]


def described(connection: "psycopg.Connection[tuple[Any, ...]]") -> str:
    """Without the password."""
    return f"The database {connection.info.dbname} on {connection.info.host}"


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())
