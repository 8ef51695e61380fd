"""A node that ships its records a turn at a time, and a site whose connection breaks."""

import asyncio
import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg

from server.ledger import postgres, sqlite
from server.ledger.budgets import Budgets
from server.ledger.database import PostgresDatabase, Row
from server.ledger.errors import LedgerError
from server.ledger.records import UsageRecord
from server.ledger.replication import SiteReplication
from server.ledger.reports import Period
from server.ledger.sqlite_rows import INSERT_RECORDS, SqliteRows

ALL = Period.month(2023, 11)
TABLES = ("usage_records", "usage_daily", "shipments")


class FaultySite(PostgresDatabase):
    """A connection that breaks once: at the call `fails_at`, before it or once it is done."""

    calls = 0
    fails_at = -1
    fails_after = False

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        self.before()
        rows = super().query(sql, parameters)
        self.after()
        return rows

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        self.before()
        count = super().execute(sql, parameters)
        self.after()
        return count

    def before(self) -> None:
        FaultySite.calls += 1
        if self.calls == self.fails_at and not self.fails_after:
            raise psycopg.OperationalError("the connection was cut")

    def after(self) -> None:
        if self.calls == self.fails_at and self.fails_after:
            raise psycopg.OperationalError("the connection was cut")


def open_faulty(url: str) -> FaultySite:
    return FaultySite(postgres.connect(url))


class Node:
    """A node's replication without its thread: each turn is the test's."""

    def __init__(self, folder: Path, url: str, open_site: Any = postgres.open_database) -> None:
        self.folder = folder
        self.path = sqlite.prepared_ledger(folder)
        self.replication = SiteReplication(self.path, url, 60.0, Budgets("NOK"), open_site)
        self.replication.loop = asyncio.new_event_loop()

    def write(self, *records: UsageRecord) -> None:
        with closing(sqlite.connect(self.path)) as connection:
            rows = SqliteRows(connection)
            with rows.transaction():
                connection.execute(INSERT_RECORDS, (rows.batch(list(records)),))

    def turns(self, count: int) -> None:
        for _ in range(count):
            try:
                self.replication.turn()
            except (psycopg.Error, LedgerError) as error:
                self.replication.lost(error)

    def close(self) -> None:
        self.replication.disconnect()
        self.replication.local.close()
        self.replication.loop.close()


def url_of(site: PostgresDatabase) -> str:
    info = site.connection.info
    return f"postgresql://{info.user}@/{info.dbname}?host={info.host}&port={info.port}"


def record(number: int, **fields: Any) -> UsageRecord:
    plain: dict[str, Any] = {
        "record_id": f"r{number:04d}",
        "key_id": f"k{number}",
        "owner": f"owner-{number}",
        "alias": "a",
        "weights": "w",
        "revision": None,
        "endpoint": "chat",
        "stream": True,
        "started_at": 1_700_000_000.0 + number,
        "end": "ok",
        "agent_id": f"agent-{number}",
        "prompt_tokens": 1,
        "amount": number,
    }
    return UsageRecord(**plain | fields)


def too_long(number: int) -> UsageRecord:
    """A record that no index of PostgreSQL can hold."""
    return record(number, agent_id=os.urandom(6000).hex())


def restore(site: PostgresDatabase, name: str, rows: list[Row]) -> None:
    site.execute(f"DELETE FROM {name}")
    for row in rows:
        site.execute(f"INSERT INTO {name} VALUES ({', '.join('?' * len(row))})", row)
