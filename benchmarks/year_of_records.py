"""How long what the console's pages ask takes over a year of records: ten million of them, SQLite.

python -m benchmarks.year_of_records [--records 10000000] [--json FILE] [--folder DIR]

400 keys of 40 owners, 10 aliases, 25 agents, a key with several of each; few keys do most, as ever.
"""

import argparse
import json
import os
import platform
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks.old_ledgers import DEFERRED, NUMBERS, SQLITE_DAILY, taken_away
from server.ledger import sqlite
from server.ledger.allowance import Budget
from server.ledger.database import SqliteDatabase
from server.ledger.day_sums import sum_closed_days
from server.ledger.invoicing import drafts
from server.ledger.issued_invoices import newest
from server.ledger.key_store import KeyStore
from server.ledger.level_use import level_use
from server.ledger.periods import day_number
from server.ledger.reports import Dimension, Only, Period, usage
from server.ledger.tenants import OwnerLevel, SiteLevel

RESULTS: Final = Path(__file__).parent / "results/year_of_records.json"
DAYS: Final = 365
KEYS, OWNERS, ALIASES, AGENTS, USERS = 400, 40, 10, 25, 5_000
KINDS: Final = KEYS * 12
"""Of a key: three aliases, streamed and whole, two ends."""
TRIES: Final = 5
SPREAD: Final = 1_000_003

WORDS: Final = f"""
INSERT INTO words (id, word) {NUMBERS}
SELECT n, CASE WHEN n <= {AGENTS} THEN 'agent-' ELSE 'customer-' END || n FROM numbers
"""
KIND_ROWS: Final = f"""
INSERT INTO kinds {NUMBERS}
SELECT n, 'key-' || (n % {KEYS}), 'owner-' || (n % {OWNERS}),
    'alias-' || ((n % {KEYS} + n / {KEYS} / 4 * 7) % {ALIASES}), 'weights', 'main', 'chat',
    n / {KEYS} % 2, CASE WHEN n / {KEYS} / 2 % 2 THEN 'length' ELSE 'ok' END, 'stop', 'oslo',
    3000000, 1500000, 9000000, 'NOK', 'node-1' FROM numbers
"""
KEY_ROWS: Final = f"""
INSERT INTO keys (key_id, name, owner, member_id, service, secret_hash, created_at) {NUMBERS}
SELECT 'key-' || (n - 1), 'of ' || n, 'owner-' || ((n - 1) % {OWNERS}),
    CASE WHEN n % 2 THEN 'member-' || ((n - 1) % 200) END, 'llm', randomblob(32), 0.0 FROM numbers
"""
RECORD_ROWS: Final = f"""
INSERT INTO records {NUMBERS}, spread (n, far, agent) AS (
    SELECT n, n * 7919 % {SPREAD} / {SPREAD}.0, n * 104729 % 3 FROM numbers
)
SELECT n, 'req_' || printf('%012x', n) || lower(hex(randomblob(6))),
    1 + CAST({KINDS} * far * far AS INTEGER),
    1 + (CAST({KINDS} * far * far AS INTEGER) % {KEYS} + agent) % {AGENTS},
    {AGENTS} + 1 + n % {USERS}, {{first_us}} + n * {{step_us}}, 50000 + n % 9000,
    900000 + n % 70000, 300 + n % 700, n % 100, 100 + n % 150, 0, 2000 + n % 1000 FROM spread
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=10_000_000)
    parser.add_argument("--json", type=Path, default=RESULTS)
    parser.add_argument("--folder", type=Path, help="Where there are 3 GB.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = sqlite.prepared_ledger(Path(folder))
        began = time.perf_counter()
        make_year(path, options.records)
        print(f"made in {time.perf_counter() - began:.0f} s", flush=True)
        with closing(SqliteDatabase(path)) as books:
            began = time.perf_counter()
            days = sum(1 for _ in sum_closed_days(books))
            print(f"{days} days summed in {time.perf_counter() - began:.0f} s", flush=True)
            books.execute("DELETE FROM summed_days WHERE day = (SELECT max(day) FROM daily)")
            found = facts(books, options.records) | {"processor_ms": measured(books)}
    options.json.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


def make_year(path: Path, records: int) -> None:
    """In the ledger at `path`, which is new: records up to yesterday, and their daily sums."""
    first_us = day_number(last_day() - timedelta(days=DAYS - 1)) * 86_400_000_000
    step_us = DAYS * 86_400_000_000 // (records + 1)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -400000")
        connection.execute("BEGIN")
        deferred = [taken_away(connection, *which) for which in DEFERRED]
        connection.execute(WORDS.format(last=AGENTS + USERS))
        connection.execute(KIND_ROWS.format(last=KINDS))
        connection.execute(KEY_ROWS.format(last=KEYS))
        connection.execute(RECORD_ROWS.format(last=records, first_us=first_us, step_us=step_us))
        connection.execute(SQLITE_DAILY)
        for statement in deferred:
            connection.execute(statement)
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def last_day() -> date:
    return datetime.now(UTC).date() - timedelta(days=1)


def facts(books: SqliteDatabase, records: int) -> dict[str, Any]:
    return {
        "records": records,
        "daily_rows": books.query("SELECT count(*) FROM daily")[0][0],
        "load_average": round(os.getloadavg()[0], 1),
        "machine": f"{os.cpu_count()} cores {platform.machine()}",
        "sqlite": sqlite3.sqlite_version,
    }


def measured(books: SqliteDatabase) -> dict[str, float]:
    """The median of each, in milliseconds of processor time; what is asked by whom."""
    year = Period(last_day() - timedelta(days=DAYS - 1), last_day())
    month = Period(last_day() - timedelta(days=30), last_day())
    of_all = {"site": Only(), "owner": Only(owner="owner-3"), "member": Only(member_id="member-4")}
    by: tuple[Dimension, ...] = ("day", "month", "owner", "alias", "key", "agent_id", "member")
    found = {}
    for period_name, period in (("month", month), ("year", year)):
        for whose, only in of_all.items():
            for each in by:
                name = f"{period_name} by {each}, {whose}"
                found[name] = timed(partial(usage, books, period, [each], only))
                print(f"{found[name]:8.1f} ms  {name}", flush=True)
    return found | of_levels(books)


def of_levels(books: SqliteDatabase) -> dict[str, float]:
    """What is left of budgets in total, and an invoice as it would be."""
    budget = Budget(kind="tokens", amount=1, period="total")
    owner = OwnerLevel(owner_id="", name="owner-3", budget=budget)
    month = (last_day() - timedelta(days=31)).isoformat()[:7]
    asked: dict[str, Callable[[], object]] = {
        "used in total, site": partial(level_use, books, SiteLevel(budget=budget)),
        "used in total, owner": partial(level_use, books, owner),
        "invoice preview, owner": partial(drafts, books, "owner-3", month, None),
        "invoices": partial(newest, books, 100),
        "keys": KeyStore(books).list,
    }
    found = {name: timed(ask) for name, ask in asked.items()}
    for name, ms in found.items():
        print(f"{ms:8.1f} ms  {name}", flush=True)
    return found


def timed(asked: Callable[[], object]) -> float:
    times = []
    for _ in range(TRIES):
        began = time.process_time()
        asked()
        times.append(time.process_time() - began)
    return round(statistics.median(times) * 1000, 1)


if __name__ == "__main__":
    main()
