"""A site's PostgreSQL: connected, and brought to the newest schema."""

from contextlib import closing
from typing import TYPE_CHECKING, Any

from server.ledger import schema
from server.ledger.database import PostgresDatabase
from server.ledger.errors import LedgerError, LedgerUnavailable

if TYPE_CHECKING:
    import psycopg

CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT_S = 30
BAD_URL = (
    "The site's URL (--ledger-url, FJORD_LEDGER_URL) is not understood; write it as "
    "postgresql://USER:PASSWORD@HOST:PORT/DATABASE, and in the password %40 for @, %2F for /, "
    "%3F for ? and %25 for %."
)


def migrated(url: str) -> None:
    """Make or migrate the site's tables. Raises LedgerUnavailable."""
    with closing(connect(url)) as connection:
        is_behind = schema_of(connection).is_behind(described(connection))
    if is_behind:
        schema.migrate(sqlalchemy_url(url))


def open_database(url: str) -> PostgresDatabase:
    """The site's database at the newest schema. Raises LedgerUnavailable."""
    migrated(url)
    return PostgresDatabase(connect(url))


def open_to_read(url: str) -> PostgresDatabase:
    """Also one that a newer fjord made, if it says that this one still understands it. Raises
    LedgerError."""
    connection = connect(url)
    try:
        found = schema_of(connection)
        if found.is_newer():
            found.check_readable(described(connection))
            connection.execute("SET default_transaction_read_only = on")
            return PostgresDatabase(connection)
    except BaseException:
        connection.close()
        raise
    connection.close()
    return open_database(url)


def connect(url: str) -> "psycopg.Connection[tuple[Any, ...]]":
    """Raises LedgerUnavailable, which never names the password."""
    import psycopg

    given = parameters(url)
    try:
        return psycopg.connect(**bounded(given))
    except (psycopg.Error, OSError) as error:
        raise LedgerUnavailable(
            f"The site's database cannot be reached: {without_password(one_line(error), given)}"
        ) from None


def bounded(given: dict[str, Any]) -> dict[str, Any]:
    """A connection that notices a dead network and a stuck statement within half a minute."""
    timeout = f"-c statement_timeout={STATEMENT_TIMEOUT_S * 1000}"
    options = f"{timeout} {given.get('options') or ''}".strip()
    wanted = {
        "autocommit": True,
        "client_encoding": "utf8",  # of SQL_ASCII, which names none, text would come as bytes
        "connect_timeout": CONNECT_TIMEOUT_S,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
    }
    return {**wanted, **given, "options": options}


def parameters(url: str) -> dict[str, Any]:
    """What the site's URL says. Raises LedgerError, which repeats nothing of it: any part of a URL
    that is not understood may be the password."""
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        given = conninfo_to_dict(url)
    except ProgrammingError:
        raise LedgerError(BAD_URL) from None
    ports = str(given.get("port") or "").replace(",", "")
    places = f"{given.get('host', '')}{given.get('dbname', '')}"
    is_clear = "@" not in places and (ports.isdecimal() or not ports)
    if not url.startswith(("postgresql://", "postgres://")) or not is_clear:
        raise LedgerError(BAD_URL)
    return given


def without_password(text: str, given: dict[str, Any]) -> str:
    password = given.get("password")
    return text.replace(password, "***") if password else text


def schema_of(connection: "psycopg.Connection[tuple[Any, ...]]") -> schema.Schema:
    if not connection.execute("SELECT to_regclass('alembic_version') IS NOT NULL").fetchone()[0]:  # type: ignore[index]
        return schema.Schema(version=None)
    return schema.told(lambda sql: connection.execute(sql.encode()).fetchall())


def sqlalchemy_url(url: str) -> str:
    first = "&" if "?" in url else "?"
    return f"postgresql+psycopg:{url.partition(':')[2]}{first}client_encoding=utf8"


def described(connection: "psycopg.Connection[tuple[Any, ...]]") -> str:
    """Without the password."""
    return f"The database {connection.info.dbname} on {connection.info.host}"


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def is_refusal(error: Exception) -> bool:
    """Whether the database refused what it was given, and would again: its value, a constraint, or
    a limit such as the length of an index entry."""
    import psycopg

    return isinstance(error, psycopg.Error) and (error.sqlstate or "")[:2] in ("22", "23", "54")
