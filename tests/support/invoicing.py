"""Records of owners and months, put straight into a node's or a site's books; and a registry."""

from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import msgspec

from server.ledger import postgres, sqlite
from server.ledger.database import Database, PostgresDatabase, SqliteDatabase
from server.ledger.invoice import Seller
from server.ledger.money import amount_of
from server.ledger.records import UsageRecord
from server.ledger.site_sql import COLUMNS, SHIP
from server.ledger.sqlite_rows import INSERT_RECORDS, SqliteRows

Books = Callable[[], AbstractContextManager[Database]]
SELLER = Seller(
    name="Fjord Drift AS",
    address="Storgata 1, 0155 Oslo",
    organisation_number="999 999 999",
    vat_number="NO 999 999 999 MVA",
    vat_rate=25_000_000,
)
REGISTRY = """
seller:
  name: Fjord Drift AS
  address: Storgata 1, 0155 Oslo
  organisation_number: "999 999 999"
  vat_number: "NO 999 999 999 MVA"
  vat_percent: "25"
models: {}
"""
numbers = count()


def local_books(data_dir: Path) -> Books:
    path = sqlite.prepared_ledger(data_dir)
    return lambda: closing(SqliteDatabase(path))


def site_books(url: str) -> Books:
    return lambda: closing(PostgresDatabase(postgres.connect(url)))


def used(month: str, owner: str = "acme", tokens: int = 1, **fields: object) -> UsageRecord:
    """A record of the month's 15th: `tokens` micro-units, unless `fields` price it otherwise."""
    record = UsageRecord(
        record_id=f"req_{next(numbers)}",
        key_id=f"key of {owner}",
        owner=owner,
        alias="kimi-k2",
        weights="w",
        revision=None,
        endpoint="chat",
        stream=True,
        started_at=datetime.fromisoformat(f"{month}-15").replace(tzinfo=UTC).timestamp(),
        end="ok",
        prompt_tokens=tokens,
        price_input=1_000_000,
        node="n",
    )
    for name, value in fields.items():
        setattr(record, name, value)
    record.amount = amount_of(record)
    return record


def add(database: Database, *records: UsageRecord) -> None:
    if isinstance(database, SqliteDatabase):
        rows = SqliteRows(database.connection)
        with rows.transaction():
            database.execute(INSERT_RECORDS, (rows.batch(list(records)),))
    else:
        batch = [site_row(record) for record in records]
        database.execute(SHIP, (msgspec.json.encode(batch).decode(), "node"))


def site_row(record: UsageRecord) -> dict[str, object]:
    times = {"started_us": round(record.started_at * 1e6), "ttft_us": None, "duration_us": 0}
    row = {name: times.get(name, getattr(record, name, None)) for name in COLUMNS}
    return row | {"stream": int(record.stream)}
