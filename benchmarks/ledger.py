"""The ledger's cost: latency and throughput of records, a million of them on disk, reports.

python -m benchmarks.ledger [--records 1000000] [--json benchmarks/results/ledger.json]
"""

import argparse
import asyncio
import json
import os
import platform
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime
from itertools import count
from pathlib import Path
from typing import Any

from server.accounts.auth import KeyRing
from server.accounts.limits import Limiter
from server.ledger.keys import Key, hash_of, new_key_text
from server.ledger.ledger import Ledger
from server.ledger.records import Caller, UsageRecord
from server.ledger.reports import DIMENSIONS, Period, usage

NOVEMBER = Period(date(2026, 11, 1), date(2026, 11, 30))
FIRST_S = datetime(2026, 11, 1, tzinfo=UTC).timestamp()
STREAMS = 64

TEMPLATE = UsageRecord(
    record_id="",
    key_id="",
    owner="",
    alias="",
    weights="Qwen/Qwen3-Next-80B-A3B-Instruct",
    revision="main",
    endpoint="chat",
    stream=True,
    started_at=0.0,
    end="ok",
    finish_reason="stop",
    region="oslo",
    price_input=3_000_000,
    price_cached=1_500_000,
    price_output=9_000_000,
    node="gpu-1",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/ledger.json"))
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        results = asyncio.run(measure(Path(folder), options.records))
    machine = platform.processor() or platform.machine()
    results |= {"machine": machine, "python": platform.python_version()}
    results |= {"sqlite": sqlite3.sqlite_version, "load_average": round(load, 1)}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(results, indent=2) + "\n")
    for name, value in results.items():
        print(f"{name:32} {value}")


async def measure(folder: Path, how_many: int) -> dict[str, Any]:
    results: dict[str, Any] = {
        "auth_us": auth_us(),
        "admit_and_release_us": admit_us(),
        "first_open_ms": opened_ms(folder),
        "open_ms": opened_ms(folder),
    }
    ledger = Ledger.open(folder, node="gpu-1")
    await ledger.start()
    results |= await latency(ledger)
    results |= await throughput(ledger)
    results |= await many(ledger, how_many)
    await ledger.stop()
    return results | reports(ledger)


def auth_us() -> float:
    """One key among ten thousand."""
    texts = [new_key_text("llm", f"{n:010d}") for n in range(10_000)]
    ring = KeyRing(
        Key(key_id=str(n), name="n", owner="o", secret_hash=hash_of(text))
        for n, text in enumerate(texts)
    )
    headers = [(b"host", b"fjord"), (b"x-api-key", texts[77].encode())]
    return per_call_us(lambda: ring.authenticate(headers))


def admit_us() -> float:
    limiter = Limiter(requests_per_minute=10**9)
    caller = Caller(key_id="k", name="n", owner="o")
    return per_call_us(lambda: limiter.release(limiter.admit(caller)))


def per_call_us(call: Callable[[], Any], calls: int = 20_000) -> float:
    began = time.perf_counter()
    for _ in range(calls):
        call()
    return round((time.perf_counter() - began) / calls * 1e6, 2)


def opened_ms(folder: Path) -> float:
    began = time.perf_counter()
    Ledger.open(folder, node="gpu-1").lock.release()
    return round((time.perf_counter() - began) * 1000, 2)


async def one_request(ledger: Ledger, record: UsageRecord) -> None:
    await ledger.begin(record, reserve_micro=100, reserve_tokens=100)
    await ledger.opened(record)
    await ledger.close_record(record)


async def latency(ledger: Ledger) -> dict[str, float]:
    """What the ledger adds to one request alone, both waits counted in full."""
    chance, spent_ms = random.Random(1), []
    for number in range(1000):
        record = some_record(f"alone-{number}", chance)
        began = time.perf_counter()
        await one_request(ledger, record)
        spent_ms.append((time.perf_counter() - began) * 1000)
    cuts = statistics.quantiles(spent_ms, n=100)
    return {
        "request_alone_p50_ms": round(cuts[49], 3),
        "request_alone_p99_ms": round(cuts[98], 3),
    }


async def throughput(ledger: Ledger) -> dict[str, float]:
    """64 requests at once, as fast as they go."""
    chance, numbers, requests = random.Random(2), count(), 20_000
    records = [some_record(f"many-{number}", chance) for number in range(requests)]

    async def stream() -> None:
        while (number := next(numbers)) < requests:
            await one_request(ledger, records[number])

    cpu_s, began = time.thread_time(), time.perf_counter()
    await asyncio.gather(*(stream() for _ in range(STREAMS)))
    wall_s, loop_s = time.perf_counter() - began, time.thread_time() - cpu_s
    return {
        "requests_per_s_at_64": round(requests / wall_s),
        "loop_us_per_request_at_64": round(loop_s / requests * 1e6, 1),
    }


async def many(ledger: Ledger, how_many: int) -> dict[str, float]:
    chance, began = random.Random(3), time.perf_counter()
    for first in range(0, how_many, 2000):
        batch = range(first, min(first + 2000, how_many))
        some = [some_record(f"req_{chance.getrandbits(128):032x}", chance) for _ in batch]
        await asyncio.gather(*(ledger.close_record(record) for record in some))
    return {"records": how_many, "fill_s": round(time.perf_counter() - began, 1)}


def some_record(record_id: str, chance: random.Random) -> UsageRecord:
    """One of a month of 200 keys, 40 owners, 12 aliases, 500 users and 20 agents."""
    key = chance.randrange(200)
    return replace(
        TEMPLATE,
        record_id=record_id,
        key_id=f"key{key:07d}",
        owner=f"owner-{key % 40}",
        alias=f"alias-{chance.randrange(12)}",
        user=f"user-{chance.randrange(500)}",
        agent_id=f"agent-{chance.randrange(20)}",
        started_at=FIRST_S + chance.random() * 30 * 86_400,
        prompt_tokens=chance.randrange(4000),
        completion_tokens=chance.randrange(1000),
        ttft_s=chance.random(),
        duration_s=chance.random() * 20,
    )


def reports(ledger: Ledger) -> dict[str, Any]:
    results: dict[str, Any] = {}
    with closing(ledger.open_books()) as books:
        for name in DIMENSIONS:
            began, cpu_s = time.perf_counter(), time.process_time()
            usage(books, NOVEMBER, [name])
            results[f"month_by_{name}_s"] = round(time.perf_counter() - began, 3)
            results[f"month_by_{name}_cpu_s"] = round(time.process_time() - cpu_s, 3)
        (found,) = books.query("SELECT count(*), sum(amount) FROM records")
        (summed,) = books.query("SELECT sum(requests), sum(amount) FROM usage_daily")
        assert found == summed, (found, summed)
        results["daily_rows"] = books.query("SELECT count(*) FROM daily")[0][0]
    size = sum(file.stat().st_size for file in ledger.data_dir.iterdir())
    return results | {"file_mb": round(size / 1e6, 1)}


if __name__ == "__main__":
    main()
