"""A batch under `kill -9`: every line once in the output, once in the ledger.

    python -m benchmarks.batch_kills --lines 100000 --kills 10 --json FILE

One `fjord serve` of the scripted engine, killed at random moments and started again on the same
data. Exits with 1 where a line or a record is missing or doubled.
"""

import argparse
import json
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

REGISTRY = """\
batch: {price_factor: "0.5"}
models:
  m:
    source: echo
    engine: scripted
    context: 4K
    output: 1K
    price: {input: "3.000001", output: "9.000001"}
    load: start
"""
OVER = ("completed", "failed", "expired", "cancelled")


@dataclass(slots=True)
class Outcome:
    """What was found in the end."""

    lines: int
    kills: int = 0
    seconds: float = 0.0
    output_lines: int = 0
    distinct_custom_ids: int = 0
    records: int = 0
    distinct_record_ids: int = 0
    wrong_amounts: int = 0
    status: str = ""
    peak_mb: float = 0.0

    @property
    def is_exact(self) -> bool:
        counts = {
            self.output_lines,
            self.distinct_custom_ids,
            self.records,
            self.distinct_record_ids,
        }
        return counts == {self.lines} and not self.wrong_amounts and self.status == "completed"


class KilledServer:
    """`fjord serve` on one data directory, again and again."""

    def __init__(self, home: Path, registry: str = REGISTRY) -> None:
        self.home = home
        (home / "model_registry.yaml").write_text(registry)
        self.http = httpx.Client(timeout=30)
        self.peak_kb = 0

    def start(self) -> None:
        note = self.home / "data/server.json"
        note.unlink(missing_ok=True)
        command = [sys.executable, "-P", "-m", "server", "serve", "--port", "0"]
        command += ["--data-dir", str(self.home / "data"), "--log-level", "warning"]
        command += ["--registry", str(self.home / "model_registry.yaml")]
        self.process = subprocess.Popen(
            command,
            cwd=self.home,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if "Fjord at " in line:
                self.http.base_url = httpx.URL(line.split("Fjord at ")[1].split(",")[0])
                break
        else:
            raise RuntimeError(f"the server did not start: {self.process.wait()}")
        key = (self.home / "data/first_key").read_text().strip()
        self.http.headers["X-API-Key"] = key

    def kill(self) -> None:
        """No warning, no end of anything."""
        self.peak_kb = max(self.peak_kb, _peak_kb(self.process.pid))
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()


def _peak_kb(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1])
    return 0


def input_lines(count: int) -> Iterator[bytes]:
    for i in range(count):
        message = {"role": "user", "content": f"line number {i} says hello"}
        body = {"model": "m", "messages": [message], "max_tokens": 16}
        line = {"custom_id": f"id-{i}", "method": "POST", "url": "/v1/chat/completions"}
        yield json.dumps(line | {"body": body}).encode() + b"\n"


@contextmanager
def killed_server(home: Path, registry: str = REGISTRY) -> Iterator[KilledServer]:
    server = KilledServer(home, registry)
    server.start()
    try:
        yield server
    finally:
        server.kill()
        server.http.close()


def measured(home: Path, lines: int, kills: int, seed: int) -> Outcome:
    drawn, outcome = random.Random(seed), Outcome(lines)
    began = time.monotonic()
    with killed_server(home) as server:
        batch_id = _begun(server, lines)
        marks = sorted(drawn.uniform(0, 1) for _ in range(kills))
        for mark in marks:
            _until(server, batch_id, int(mark * lines))
            time.sleep(drawn.uniform(0, 0.2))  # anywhere within what it does then
            server.kill()
            outcome.kills += 1
            server.start()
        batch = _until(server, batch_id, lines)
        outcome.status = batch["status"]
        _count_output(server, batch, outcome)
    outcome.seconds = round(time.monotonic() - began, 1)
    outcome.peak_mb = round(server.peak_kb / 1024, 1)
    _count_records(home / "data/ledger.sqlite3", batch_id, outcome)
    return outcome


def _begun(server: KilledServer, lines: int) -> str:
    path = server.home / "in.jsonl"
    with open(path, "wb") as file:
        file.writelines(input_lines(lines))
    with open(path, "rb") as file:
        form = {"purpose": "batch"}
        answer = server.http.post("/v1/files", data=form, files={"file": ("in.jsonl", file)})
    body = {
        "input_file_id": answer.raise_for_status().json()["id"],
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
    }
    made = server.http.post("/v1/batches", json=body).raise_for_status().json()
    return str(made["id"])


def _until(server: KilledServer, batch_id: str, done: int) -> "dict[str, str]":
    """Polls until so many lines are done, or it is over."""
    while True:
        batch = server.http.get(f"/v1/batches/{batch_id}").raise_for_status().json()
        counts = batch["request_counts"]
        is_there = done and counts["completed"] + counts["failed"] >= done
        if batch["status"] in OVER or (is_there and done < counts["total"]):
            found: dict[str, str] = batch
            return found
        if not done:
            return dict(batch)
        time.sleep(0.05)


def _count_output(server: KilledServer, batch: "dict[str, str]", outcome: Outcome) -> None:
    seen = set()
    with server.http.stream("GET", f"/v1/files/{batch['output_file_id']}/content") as answer:
        for line in answer.iter_lines():
            outcome.output_lines += 1
            seen.add(json.loads(line)["custom_id"])
    outcome.distinct_custom_ids = len(seen)


def _count_records(ledger: Path, batch_id: str, outcome: Outcome) -> None:
    query = (
        "SELECT record_id, amount, prompt_tokens, completion_tokens, price_input, price_output"
        " FROM usage_records WHERE endpoint LIKE 'batch%' OR record_id LIKE ?"
    )
    with closing(sqlite3.connect(ledger)) as connection:
        rows = connection.execute(query, (batch_id + "%",)).fetchall()
    outcome.records = len(rows)
    outcome.distinct_record_ids = len({row[0] for row in rows})
    for _, amount, prompt, completion, price_input, price_output in rows:
        exact = prompt * price_input + completion * price_output
        if amount != (exact + 500_000) // 1_000_000 or (price_input, price_output) != HALVES:
            outcome.wrong_amounts += 1


HALVES = (1_500_001, 4_500_001)
"""Half of each price, rounded half up to a micro-unit."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=2_000)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcome = measured(Path(folder), given.lines, given.kills, given.seed)
    text = json.dumps(asdict(outcome) | {"is_exact": outcome.is_exact}, indent=2)
    print(text)
    if given.json is not None:
        given.json.write_text(text + "\n")
    sys.exit(not outcome.is_exact)


if __name__ == "__main__":
    main()
