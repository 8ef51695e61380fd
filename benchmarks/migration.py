"""How long a start takes that brings an old ledger to the newest schema: of each released schema,
ten million records, in both databases.

python -m benchmarks.migration [--records 10000000] [--only sqlite] [--json FILE] [--folder DIR]

The kernel's cache of the file is dropped first: a start after an upgrade may be the machine's own.
"""

import argparse
import json
import os
import platform
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.old_ledgers import RELEASED, make_postgresql, make_sqlite
from server.ledger import postgres, schema, sqlite
from tests.support.sites import postgres_server

RESULTS = Path(__file__).parent / "results/migration.json"
DIALECTS = ("sqlite", "postgresql")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=10_000_000)
    parser.add_argument("--only", choices=DIALECTS)
    parser.add_argument("--of", nargs="*", choices=RELEASED, help="Only these schemas.")
    parser.add_argument("--json", type=Path, default=RESULTS)
    parser.add_argument("--folder", type=Path, help="Where there is room: 2 GB, or 6 for both.")
    options = parser.parse_args()
    found: dict[str, Any] = {
        "records": options.records,
        "to_schema": schema.HEAD,
        "load_average": round(os.getloadavg()[0], 1),
        "machine": f"{os.cpu_count()} cores {platform.machine()}",
        "sqlite": sqlite3.sqlite_version,
    }
    schemas = options.of or RELEASED
    if options.only != "postgresql":
        found["sqlite_s"] = {old: of_sqlite(old, options) for old in schemas}
    if options.only != "sqlite":
        found["postgresql_s"] = of_postgresql(options.records, schemas)
    options.json.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


def of_sqlite(old: str, options: argparse.Namespace) -> float:
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        ledger = Path(folder, sqlite.FILE_NAME)
        make_sqlite(ledger, old, options.records)
        drop_from_cache(ledger)
        began = time.perf_counter()
        sqlite.prepared_ledger(Path(folder))
        took_s = time.perf_counter() - began
    print(f"sqlite     {old}: {took_s:.2f} s", flush=True)
    return round(took_s, 2)


def drop_from_cache(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def of_postgresql(records: int, schemas: Sequence[str]) -> dict[str, float]:
    took = {}
    with postgres_server() as server:
        for old in schemas:
            name = f"of_{old}"
            with closing(postgres.connect(server.get_uri())) as connection:
                connection.execute(f"CREATE DATABASE {name}".encode())
            url = server.get_uri(database=name)
            with closing(postgres.connect(url)) as connection:
                make_postgresql(connection, old, records)
            began = time.perf_counter()
            postgres.migrated(url)
            took[old] = round(time.perf_counter() - began, 2)
            print(f"postgresql {old}: {took[old]:.2f} s", flush=True)
            with closing(postgres.connect(server.get_uri())) as connection:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
    return took


if __name__ == "__main__":
    main()
