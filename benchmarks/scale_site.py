"""A `fjord serve` of scripted engines that never end an answer, and what a request costs beside
what it holds."""

import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.figures import percentile
from benchmarks.front import Cost, front_cost
from benchmarks.generator import drive
from benchmarks.load import Load
from benchmarks.processes import stop
from benchmarks.soak import new_key, started, wait_until_ready
from server.ledger.sqlite import prepared_ledger

OPEN, FULL, QUICK = "open", "full", "quick"
SEATS, MOST_RUN = 4, 5
"""One more is let into an engine than it has seats (server/fairness/gate.py)."""
HELD_S = 36_000.0
REQUESTS, STREAMS = 400, 4
LIMITS = {
    "FJORD_REQUESTS_PER_MINUTE": "100000000",
    "FJORD_CONCURRENT": "1000000",
    "FJORD_QUEUE_LIMIT": "1000000",
    "FJORD_REQUEST_TIMEOUT_S": "7200",
}
_MODEL = "  {}: {{source: nowhere, engine: scripted, args: {}, context: 4K, output: 1K}}"
_HELD = {"text": "the boats come home", "token_delay_s": HELD_S}
REGISTRY = "\n".join(
    [
        "models:",
        _MODEL.format(OPEN, json.dumps(_HELD)),
        _MODEL.format(FULL, json.dumps({**_HELD, "seats": SEATS})),
        _MODEL.format(QUICK, json.dumps({"text": "yes"})),
        "profiles:\n  embedded: {}\n",
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """Small whole requests of another model."""

    cpu_us: float
    """Of the server, a request, less what it takes when all are still."""
    p50_ms: float
    p99_ms: float
    most_ms: float


@dataclass(slots=True, kw_only=True)
class Site:
    """A running server."""

    pid: int
    port: int
    keys: Sequence[str]
    ready_s: float

    def cost(self) -> Cost:
        return front_cost(self.pid)

    def rss_mib(self) -> float:
        return round(self.cost().rss_bytes / 2**20, 1)

    def idle_share(self, seconds: float) -> float:
        """Of one core, while nobody asks for anything."""
        began, before = time.monotonic(), self.cost().cpu_s
        time.sleep(seconds)
        return round((self.cost().cpu_s - before) / (time.monotonic() - began), 4)

    def beside(self, requests: int = 0, idle_share: float = 0.0) -> Beside:
        """What small requests cost, REQUESTS of them or so many; each with the next key."""
        requests = requests or REQUESTS
        body = json.dumps(asked(QUICK) | {"max_tokens": 1})
        load = Load(
            host="127.0.0.1",
            port=self.port,
            path="/v1/chat/completions",
            headers={},
            streams=STREAMS,
            bodies=[body] * requests,
            keys=self.keys,
        )
        before, began = self.cost().cpu_s, time.monotonic()
        outcome = drive(load)
        spent_s = self.cost().cpu_s - before - idle_share * (time.monotonic() - began)
        if outcome.errors:
            raise SystemExit(f"A request beside was not answered: {outcome.errors[0]}")
        return Beside(
            cpu_us=round(1e6 * spent_s / requests, 1),
            p50_ms=round(1e3 * percentile(outcome.total_s, 50), 2),
            p99_ms=round(1e3 * percentile(outcome.total_s, 99), 2),
            most_ms=round(1e3 * max(outcome.total_s), 2),
        )

    def metric(self, name: str) -> float:
        """The sum of all its samples."""
        text = httpx.get(f"http://127.0.0.1:{self.port}/metrics", timeout=30).text
        return sum(map(float, re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)))


def asked(alias: str) -> dict[str, Any]:
    return {"model": alias, "messages": [{"role": "user", "content": "Hello."}]}


@contextmanager
def serving(folder: Path, keys: Sequence[str] = ()) -> Iterator[Site]:
    """`keys`: texts that the ledger under `folder` has already; else one is made."""
    places = ["--data-dir", str(folder / "data")]
    prepared_ledger(folder / "data")
    if not keys:
        keys = [new_key("scale", places)]
    began = time.monotonic()
    process, port = started(folder, REGISTRY, LIMITS)
    try:
        wait_until_ready(process, port)
        site = Site(pid=process.pid, port=port, keys=keys, ready_s=time.monotonic() - began)
        site.beside(20)
        yield site
    finally:
        stop(process)
