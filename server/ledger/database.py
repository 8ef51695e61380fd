"""Two databases, one way to ask: SQL with `?` for parameters, rows as tuples or by name.

SQLAlchemy Core would write the SQL; it is left to migrations, because importing it makes every
`fjord keys` 0.3 s slower."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from server.ledger import sqlite
from server.ledger.actors import Actor, at_this_machine

if TYPE_CHECKING:
    import psycopg

Row: TypeAlias = tuple[Any, ...]
NamedRow: TypeAlias = dict[str, Any]


class Database(Protocol):
    """Used by one thread at a time; each statement outside `writing` is its own transaction."""

    actor: Actor
    """Who writes, as the audit log has it."""

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]: ...

    def named(self, sql: str, parameters: Sequence[Any] = ()) -> list[NamedRow]:
        """The same, each row by its columns' names."""

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """The number of rows written."""

    def writing(self, table: str) -> AbstractContextManager[None]:
        """One transaction in which nobody else writes `table`; within another it is part of it."""

    def close(self) -> None: ...


class SqliteDatabase:
    """A node's own ledger file."""

    def __init__(
        self, path: Path, *, read_only: bool = False, busy_timeout_s: float = 10.0
    ) -> None:
        self.actor = at_this_machine()
        self.connection = sqlite.connect(path, busy_timeout_s=busy_timeout_s)
        if read_only:
            self.connection.execute("PRAGMA query_only = ON")

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        return self.connection.execute(sql, parameters).fetchall()

    def named(self, sql: str, parameters: Sequence[Any] = ()) -> list[NamedRow]:
        cursor = self.connection.execute(sql, parameters)
        return by_name([column[0] for column in cursor.description], cursor)

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        return self.connection.execute(sql, parameters).rowcount

    def writing(self, table: str) -> AbstractContextManager[None]:
        is_within = self.connection.in_transaction
        return nullcontext() if is_within else sqlite.immediate(self.connection)

    def close(self) -> None:
        self.connection.close()


class PostgresDatabase:
    """A site's database."""

    def __init__(self, connection: "psycopg.Connection[Row]") -> None:
        self.actor = at_this_machine()
        self.connection = connection

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        return self.connection.execute(translated(sql), parameters).fetchall()

    def named(self, sql: str, parameters: Sequence[Any] = ()) -> list[NamedRow]:
        cursor = self.connection.execute(translated(sql), parameters)
        return by_name([column.name for column in cursor.description or ()], cursor)

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        return self.connection.execute(translated(sql), parameters).rowcount

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self.connection.transaction():
            yield

    @contextmanager
    def writing(self, table: str) -> Iterator[None]:
        with self.transaction():
            self.connection.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE".encode())
            yield

    def close(self) -> None:
        self.connection.close()


def by_name(names: Sequence[str], rows: Iterable[Row]) -> list[NamedRow]:
    return [dict(zip(names, row, strict=True)) for row in rows]


def translated(sql: str) -> bytes:
    """psycopg's parameters are `%s`; our SQL has no other use of `?` or `%`."""
    return sql.replace("?", "%s").encode()
