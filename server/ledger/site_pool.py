"""A few connections to the site's database, for requests that need one for a moment."""

from typing import TYPE_CHECKING, Any

from psycopg_pool import ConnectionPool, PoolTimeout

from server.ledger import postgres
from server.ledger.database import PostgresDatabase
from server.ledger.errors import LedgerUnavailable

if TYPE_CHECKING:
    import psycopg

CONNECTIONS = 4
IDLE_S = 60.0


class SitePool:
    """Connects when it is first asked; used on any thread."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_migrated = False
        self.pool = ConnectionPool(
            kwargs=postgres.bounded(postgres.parameters(url)),
            min_size=0,
            max_size=CONNECTIONS,
            max_idle=IDLE_S,
            timeout=postgres.CONNECT_TIMEOUT_S,
            check=ConnectionPool.check_connection,
            name="site",
            open=False,
        )

    def open_books(self) -> PostgresDatabase:
        """A connection that `close` gives back. Raises LedgerUnavailable where none is to be had
        within five seconds."""
        if not self.is_migrated:
            postgres.migrated(self.url)
            self.is_migrated = True
        self.pool.open()
        try:
            return PooledDatabase(self.pool, self.pool.getconn())
        except PoolTimeout:
            raise LedgerUnavailable("The site's database gave no connection in time.") from None

    def close(self) -> None:
        self.pool.close()


class PooledDatabase(PostgresDatabase):
    """A site's database on a borrowed connection."""

    def __init__(
        self,
        pool: "ConnectionPool[Any]",
        connection: "psycopg.Connection[tuple[Any, ...]]",
    ) -> None:
        super().__init__(connection)
        self.pool = pool

    def close(self) -> None:
        self.pool.putconn(self.connection)
