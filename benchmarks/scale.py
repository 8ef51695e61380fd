"""What very many of something cost: open streams that say nothing, requests in a queue, keys.

    python -m benchmarks.scale [--open 100,1000,5000,10000] [--queued 100,1000,5000]
        [--keys 100,10000,100000] [--idle-s 15] [--json benchmarks/results/scale.json]

A real `fjord serve` on scripted engines. For each number: memory, CPU of the server for each that
came, its share of a core while all are still, and CPU and time of small requests of another model
beside them; those must not grow. Ten million records: benchmarks/year_of_records.py.
"""

import argparse
import asyncio
import json
import resource
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import httpx

from benchmarks.machine import surroundings
from benchmarks.scale_crowd import Crowd
from benchmarks.scale_site import FULL, MOST_RUN, OPEN, Site, asked, serving
from benchmarks.soak import new_key
from server.ledger.keys import hash_of
from server.ledger.sqlite import prepared_ledger

MORE_FILES = 200
"""Than connections, of either process."""
GONE_S = 120.0
MOST_GROWTH = 1.5
"""Of a small request's CPU, from the least number to the most."""
FEW_USED, MANY_USED = 400, 5000
Row: TypeAlias = dict[str, Any]
_KEY = """INSERT INTO keys (key_id, name, owner, service, secret_hash, created_at)
VALUES (?, ?, ?, 'llm', ?, 0.0)"""


async def held(alias: str, counts: Sequence[int], idle_s: float) -> list[Row]:
    """Streams of a model: of OPEN, which begin and are still; of FULL, which wait in line."""
    with tempfile.TemporaryDirectory(prefix="scale-") as name, serving(Path(name)) as site:
        crowd = Crowd(site.port, site.keys[0], asked(alias) | {"max_tokens": 4})
        rows = [_row(site, 0, 0.0, site.rss_mib(), idle_s)]
        for before, count in zip((0, *counts), counts, strict=False):
            cpu_s = site.cost().cpu_s
            await crowd.grow(count, partial(_is_there, site, crowd, alias, count))
            spent_us = 1e6 * (site.cost().cpu_s - cpu_s) / (count - before)
            least_mib = rows[0]["rss_mib"]
            row = await asyncio.to_thread(_row, site, count, spent_us, least_mib, idle_s)
            if crowd.wrong:
                raise SystemExit(f"of {count}, some were cut: {crowd.wrong[0]}")
            rows.append(row)
        return [*rows, await _left(site, crowd, counts[-1])]


def _is_there(site: Site, crowd: Crowd, alias: str, count: int) -> bool:
    if alias == OPEN:
        return crowd.has_begun == count
    return site.metric("fjord_requests_waiting") >= count - MOST_RUN


def _row(site: Site, count: int, cpu_us: float, least_mib: float, idle_s: float) -> Row:
    rss_mib, idle = site.rss_mib(), site.idle_share(idle_s)
    row = {
        "number": count,
        "rss_mib": rss_mib,
        "kib_each": round(1024 * (rss_mib - least_mib) / count, 1) if count else 0.0,
        "cpu_us_each": round(cpu_us, 1),
        "idle_share": idle,
        "beside": asdict(site.beside(idle_share=idle)),
    }
    print(json.dumps(row), flush=True)
    return row


async def _left(site: Site, crowd: Crowd, count: int) -> Row:
    """All leave at once: what that costs, and how long until the server has seen it."""
    began, cpu_s = time.monotonic(), site.cost().cpu_s
    await crowd.leave()
    while await asyncio.to_thread(site.metric, "fjord_sequences_in_flight"):
        if time.monotonic() - began > GONE_S:
            raise SystemExit(f"not all had gone after {GONE_S:g} s")
        await asyncio.sleep(0.1)
    row = {
        "left": count,
        "gone_s": round(time.monotonic() - began, 2),
        "cpu_us_each": round(1e6 * (site.cost().cpu_s - cpu_s) / count, 1),
        "rss_mib": site.rss_mib(),
    }
    print(json.dumps(row), flush=True)
    return row


def with_keys(count: int, idle_s: float) -> Row:
    """A server whose ledger has so many keys: its start, a new key's way into it, a request with
    one of few, and with another key each time."""
    with tempfile.TemporaryDirectory(prefix="scale-") as name:
        folder = Path(name)
        texts = make_keys(folder / "data", count)
        with serving(folder, texts[:FEW_USED]) as site:
            row: Row = {"number": count, "ready_s": round(site.ready_s, 2)}
            row |= {"rss_mib": site.rss_mib(), "idle_share": site.idle_share(idle_s)}
            row["beside"] = asdict(site.beside())
            site.keys = texts[-min(count, MANY_USED) :]
            row["beside_each_its_own"] = asdict(site.beside(min(count, MANY_USED)))
            row["rss_mib_used"] = site.rss_mib()
            row |= _known(site, folder)
    print(json.dumps(row), flush=True)
    return row


def _known(site: Site, folder: Path) -> Row:
    """What it is to a server that a key is made: seconds until it is known, processor time, and the
    longest that a small request took meanwhile."""
    cpu_s, began, most_ms = site.cost().cpu_s, time.monotonic(), 0.0
    with ThreadPoolExecutor(1) as thread:
        making = thread.submit(new_key, "scale", ["--data-dir", str(folder / "data")])
        while not (making.done() and _is_known(site, making.result())):
            most_ms = max(most_ms, site.beside(100).most_ms)
            if time.monotonic() - began > GONE_S:
                raise SystemExit(f"the new key was not known after {GONE_S:g} s")
    return {
        "new_key_known_s": round(time.monotonic() - began, 2),
        "new_key_cpu_ms": round(1e3 * (site.cost().cpu_s - cpu_s)),
        "new_key_most_ms_beside": most_ms,
    }


def _is_known(site: Site, key: str) -> bool:
    url = f"http://127.0.0.1:{site.port}/v1/models"
    answer = httpx.get(url, headers={"X-API-Key": key}, timeout=GONE_S)
    return answer.status_code == httpx.codes.OK


def make_keys(data: Path, count: int) -> list[str]:
    """The texts of so many keys of a tenth as many owners, in a ledger that is new."""
    texts = [f"scale-{number:032d}" for number in range(count)]
    with closing(sqlite3.connect(prepared_ledger(data))) as books, books:
        books.executemany(
            _KEY,
            (
                (f"key-{n}", f"of {n}", f"owner-{n % max(1, count // 10)}", hash_of(text))
                for n, text in enumerate(texts)
            ),
        )
    return texts


def flat(rows: Sequence[Row]) -> Row:
    """Whether a small request beside the most costs what it does beside the least."""
    costs = [row["beside"]["cpu_us"] for row in rows if "beside" in row]
    growth = costs[-1] / costs[0]
    return {"growth": round(growth, 2), "bound": MOST_GROWTH, "reached": growth <= MOST_GROWTH}


def table(found: dict[str, Any]) -> str:
    """As markdown."""
    head = "of what | number | MiB | KiB each | CPU µs each | a core, idle | a request beside, µs"
    lines = [f"| {head} |", "| --- |" + " ---: |" * 6]
    for kind in ("open streams", "queued requests", "keys"):
        for row in found.get(kind, {}).get("rows", ()):
            if "beside" in row:
                cells = [kind, row["number"], row["rss_mib"], row.get("kib_each", "–")]
                cells += [row.get("cpu_us_each", "–"), row["idle_share"], row["beside"]["cpu_us"]]
                lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def _raise_file_limit(wanted: int) -> None:
    """Of this process and of the server, which inherits it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < wanted:
        raise SystemExit(f"{wanted} files are needed open at once, and {most} are allowed.")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--open", type=_numbers, default=(100, 1000, 5000, 10_000))
    parser.add_argument("--queued", type=_numbers, default=(100, 1000, 5000))
    parser.add_argument("--keys", type=_numbers, default=(100, 10_000, 100_000))
    parser.add_argument("--idle-s", type=float, default=15.0)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/scale.json"))
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the server goes with us
    _raise_file_limit(max((0, *given.open, *given.queued)) + MORE_FILES)
    found: dict[str, Any] = surroundings()
    for kind, rows in measured(given):
        found[kind] = {"rows": rows, "flat": flat(rows)}
        given.json.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found))


def measured(given: argparse.Namespace) -> Iterator[tuple[str, list[Row]]]:
    if given.open:
        yield "open streams", asyncio.run(held(OPEN, given.open, given.idle_s))
    if given.queued:
        yield "queued requests", asyncio.run(held(FULL, given.queued, given.idle_s))
    if given.keys:
        yield "keys", [with_keys(count, given.idle_s) for count in given.keys]


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(",") if part)


if __name__ == "__main__":
    main()
