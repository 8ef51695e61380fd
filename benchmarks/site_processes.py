"""A front, scripted nodes and their PostgreSQL as processes: what forwarding costs, what limits and
budgets let through, what the database has to do."""

import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.figures import percentile
from benchmarks.front import front_cost
from benchmarks.generator import drive
from benchmarks.load import Load
from benchmarks.site_mix import Mix
from server.ledger import postgres
from server.ledger.allowance import Budget
from server.ledger.database import PostgresDatabase
from server.ledger.key_store import KeyStore
from server.ledger.keys import Key
from server.ledger.records import KeyLimits
from tests.support.peer_processes import ProcessSite, process_site
from tests.support.serving import read_records, wait_until

FRONT = "front-1"
PATH = "/v1/chat/completions"
CLIENTS = 6
SPAM_S = 8.0
SETTLE_S = 3.0
"""Until a key is known and an exchange has told all of all."""


def body(text: str, tokens: int, **more: Any) -> str:
    said = {
        "model": "m",
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": tokens,
        "ignore_eos": True,
        "messages": [{"role": "user", "content": text}],
    }
    return json.dumps(said | more)


class MeasuredSite:
    """`site` and its database."""

    def __init__(self, site: ProcessSite, database: psutil.Process) -> None:
        self.site, self._database = site, database

    def load(self, name: str, bodies: Sequence[str], streams: int, key: str = "") -> Any:
        """Of the server of that name: what came back, and its processes' processor time."""
        asked = Load(
            host="127.0.0.1",
            port=self.site.ports[name],
            path=PATH,
            headers={"X-API-Key": key or self.site.key},
            streams=streams,
            bodies=bodies,
        )
        return drive(asked)

    def cpu_s(self, name: str) -> float:
        return front_cost(self.site.processes[name].process.pid).cpu_s

    def database_cpu_s(self) -> float:
        """Of all its processes that are there now."""
        found = 0.0
        for each in (self._database, *self._database.children(recursive=True)):
            try:
                times = each.cpu_times()
            except psutil.NoSuchProcess:
                continue
            found += times.user + times.system
        return found

    @contextmanager
    def books(self) -> Iterator[PostgresDatabase]:
        with closing(PostgresDatabase(postgres.connect(self.site.url))) as books:
            yield books

    def new_key(self, **what: Any) -> str:
        """That all take."""
        with self.books() as books:
            store = KeyStore(books)
            text = store.create(Key(key_id="", name="n", owner="acme", **what))[1]
            later = store.create(Key(key_id="", name="later", owner="acme"))[1]
        self._wait_for(later)
        time.sleep(SETTLE_S)
        return text

    def _wait_for(self, key: str) -> None:
        """Whoever takes it takes those that were made before; to ask with theirs would count."""
        names = list(self.site.processes)
        wait_until(lambda: all(self._takes(name, key) for name in names), "all take the key")

    def _takes(self, name: str, key: str) -> bool:
        url = f"{self.site.address(name)}/v1/models"
        return httpx.get(url, headers={"X-API-Key": key}).status_code == 200

    def make_keys(self, count: int) -> list[str]:
        """Their texts, once all servers take the last of them."""
        texts = []
        with self.books() as books, books.writing("keys"):
            store = KeyStore(books)
            for number in range(count):
                limits, owner = KeyLimits(requests_per_minute=600), f"o{number % 200}"
                key = Key(key_id="", name=f"k{number}", owner=owner, limits=limits)
                texts.append(store.create(key)[1])
        self._wait_for(texts[-1])
        return texts


def forwarding(site: MeasuredSite, rounds: int) -> dict[str, Any]:
    """By the front and straight to a node in turns: one stream of one token, and many of many."""
    one = [body(f"short {i}", 1) for i in range(60)]
    many = [body(f"long {i}", 128) for i in range(96)]
    first: dict[str, list[float]] = {FRONT: [], "gpu-1": []}
    cost: dict[str, list[float]] = {FRONT: [], "node": [], "gpu-1": []}
    for turn in range(2 * rounds):
        order = (FRONT, "gpu-1") if turn % 4 in (0, 3) else ("gpu-1", FRONT)
        for name in order:
            first[name] += _whole(site.load(name, one, 1)).ttft_s
    nodes = site.site.names
    for turn in range(2 * rounds):
        name = FRONT if turn % 4 in (0, 3) else "gpu-1"
        of_nodes, own = sum(map(site.cpu_s, nodes)), site.cpu_s(name)
        outcome = _whole(site.load(name, many, 32))
        tokens = outcome.tokens / 1e6
        cost[name].append((site.cpu_s(name) - own) / tokens)
        if name == FRONT:
            cost["node"].append((sum(map(site.cpu_s, nodes)) - of_nodes) / tokens)
    p50, p99 = ({n: 1000 * percentile(first[n], p) for n in first} for p in (50, 99))
    return {
        "first_token_p50_ms": {n: round(ms, 2) for n, ms in p50.items()},
        "first_token_p99_ms": {n: round(ms, 2) for n, ms in p99.items()},
        "added_p50_ms": round(p50[FRONT] - p50["gpu-1"], 2),
        "front_us_a_token": round(min(cost[FRONT]), 1),
        "nodes_us_a_forwarded_token": round(min(cost["node"]), 1),
        "node_us_a_token_of_its_own": round(min(cost["gpu-1"]), 1),
    }


def _whole(outcome: Any) -> Any:
    assert not outcome.errors, outcome.errors[:3]
    return outcome


def mixed(site: MeasuredSite, count: int, nodes: int) -> dict[str, Any]:
    """The recorded mix by the front: which node got how much."""
    bodies = [
        body("", each.output_tokens // 8 + 1, messages=each.messages)
        for each in Mix(1, nodes).requests(count)
    ]
    before = {name: _taken(site, name) for name in site.site.names}
    outcome = _whole(site.load(FRONT, bodies, 4 * nodes))
    taken = [_taken(site, name) - before[name] for name in site.site.names]
    return {
        "requests": taken,
        "most_over_mean": round(max(taken) * len(taken) / sum(taken), 3),
        "first_token_p50_ms": round(1000 * percentile(outcome.ttft_s, 50), 1),
        "requests_per_s": round(count / outcome.wall_s, 1),
    }


def _taken(site: MeasuredSite, name: str) -> int:
    """Generations that it made for others."""
    text = httpx.get(f"{site.site.address(name)}/metrics").text
    lines = [line for line in text.splitlines() if line.startswith("fjord_peer_requests_total")]
    return int(sum(float(line.rpartition(" ")[2]) for line in lines))


def limits(site: MeasuredSite, limit: int) -> dict[str, Any]:
    """All nodes at once asked for far more than a key may have in a minute."""
    key = site.new_key(limits=KeyLimits(requests_per_minute=limit, burst=0))
    nodes = len(site.site.processes)
    statuses = _spam(site, key, 1)
    admitted = statuses.count(200)
    return {"limit": limit, "nodes": nodes, "asked": len(statuses), "admitted": admitted,
            "bound": max(limit, nodes)}  # fmt: skip


def budgets(site: MeasuredSite, amount: int, tokens: int) -> dict[str, Any]:
    """The same with a budget of so many tokens, of requests that may use `tokens` each."""
    key = site.new_key(budget=Budget(kind="tokens", amount=amount, period="total"))
    before = _used(site)
    statuses = _spam(site, key, tokens)
    time.sleep(SETTLE_S)
    nodes, used = len(site.site.processes), _used(site) - before
    cap = tokens + 8
    return {
        "budget_tokens": amount,
        "nodes": nodes,
        "asked": len(statuses),
        "answered": statuses.count(200),
        "used_tokens": used,
        "overspent_tokens": max(0, used - amount),
        "bound_overspent_tokens": (nodes - 1) * amount + nodes * cap,
    }


def _used(site: MeasuredSite) -> int:
    folders = [site.site.folder / name / "data" for name in site.site.processes]
    records = [record for folder in folders for record in read_records(folder)]
    return sum(int(r["prompt_tokens"] or 0) + int(r["completion_tokens"] or 0) for r in records)


def _spam(site: MeasuredSite, key: str, tokens: int) -> list[int]:
    """The statuses of what CLIENTS sent to all servers by turns for SPAM_S."""
    addresses = [site.site.address(name) for name in site.site.processes]
    deadline = time.monotonic() + SPAM_S
    asked = json.loads(body("hi", tokens)) | {"stream": False, "stream_options": None}

    def client(number: int) -> list[int]:
        found: list[int] = []
        with httpx.Client(headers={"X-API-Key": key}, timeout=30) as http:
            while time.monotonic() < deadline:
                address = addresses[(number + len(found)) % len(addresses)]
                found.append(http.post(f"{address}{PATH}", json=asked).status_code)
        return found

    with ThreadPoolExecutor(CLIENTS) as pool:
        return [status for each in pool.map(client, range(CLIENTS)) for status in each]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseLoad:
    """A second and server."""

    servers: int
    requests: float
    transactions: float
    statements_ms: float
    """That statements ran, as the database counts it."""
    cpu_ms: float
    """Of all processes of the database."""


def database_load(site: MeasuredSite, seconds: float, busy: bool, keys: Sequence[str]) -> Any:
    """While nothing is asked, or all servers are, with all these keys by turns."""
    servers = len(site.site.processes)
    began, before, cpu = time.monotonic(), _counted(site), site.database_cpu_s()
    asked = _steady(site, seconds, keys) if busy else 0
    if not busy:
        time.sleep(seconds)
    time.sleep(1.1)  # the database tells its counts once a second
    passed, after = time.monotonic() - began, _counted(site)
    share = 1 / passed / servers
    return asdict(
        DatabaseLoad(
            servers=servers,
            requests=round(asked * share, 2),
            transactions=round((after[0] - before[0]) * share, 2),
            statements_ms=round((after[1] - before[1]) * share, 2),
            cpu_ms=round(1000 * (site.database_cpu_s() - cpu) * share, 2),
        )
    )


def _counted(site: MeasuredSite) -> tuple[float, float]:
    query = "SELECT xact_commit, active_time FROM pg_stat_database"
    with site.books() as books:
        [(count, active_ms)] = books.query(f"{query} WHERE datname = current_database()")
    return float(count), float(active_ms)


def _steady(site: MeasuredSite, seconds: float, keys: Sequence[str]) -> int:
    """Each server some requests a second, of one token, with another key each time; how many."""
    addresses = [site.site.address(name) for name in site.site.processes]
    asked = json.loads(body("hi", 1)) | {"stream": False, "stream_options": None}
    deadline = time.monotonic() + seconds
    with httpx.Client(timeout=30) as http:
        number = 0
        while time.monotonic() < deadline:
            key = keys[number % len(keys)]
            address = addresses[number % len(addresses)]
            http.post(f"{address}{PATH}", json=asked, headers={"X-API-Key": key})
            number += 1
            time.sleep(0.01)
    return number


@contextmanager
def measured_site(
    folder: Path, url: str, nodes: int, database: psutil.Process
) -> Iterator[MeasuredSite]:
    with process_site(folder, url, gpus=nodes) as site:
        yield MeasuredSite(site, database)
