"""Memory of a serving process over very many small requests.

python -m benchmarks.soak [--requests 100000] [--json benchmarks/results/soak.json]

A real `fjord serve` on the scripted engine, driven over loopback through kept connections, half of
the answers streamed. Its resident memory after the first tenth of the requests and after the last.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.generator import drive
from benchmarks.load import Load, Outcome
from benchmarks.machine import surroundings
from benchmarks.processes import free_port
from benchmarks.servers import ROOT
from server.ledger.sqlite import prepared_ledger

STEPS = 10
STREAMS = 32
USERS = 2000
MAY_GROW = 0.05
STARTS_S = 60.0
LIMITS = {"FJORD_REQUESTS_PER_MINUTE": "10000000", "FJORD_CONCURRENT": "1000"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/soak.json"))
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the server goes with us
    result = {**surroundings(), **soak(given.requests)}
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(result, indent=2) + "\n")
    print(f"{result['growth']:+.2%} from {result['rss_mib'][0]} MiB; {given.json}")
    sys.exit(0 if result["growth"] <= MAY_GROW and not result["errors"] else 1)


def soak(requests: int) -> dict[str, Any]:
    """The figures of one run; RSS in MiB after each tenth."""
    rss: list[float] = []
    errors: list[str] = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as (process, port, key):
        server = psutil.Process(process.pid)
        at_start = mib(server)
        for step in range(STEPS):
            outcome = ask(port, key, requests // STEPS, step)
            errors += outcome.errors[:3]
            rss.append(mib(server))
            rate = len(outcome.total_s) / outcome.wall_s
            print(f"{(step + 1) * requests // STEPS:>8} requests: {rss[-1]} MiB, {rate:.0f}/s")
    return {
        "requests": requests,
        "duration_s": round(time.monotonic() - began, 1),
        "rss_at_start_mib": at_start,
        "rss_mib": rss,
        "growth": round(rss[-1] / rss[0] - 1, 4),
        "errors": errors,
    }


def ask(port: int, key: str, count: int, seed: int) -> Outcome:
    load = Load(
        host="127.0.0.1",
        port=port,
        path="/v1/chat/completions",
        headers={"X-API-Key": key},
        streams=STREAMS,
        bodies=[body(random.Random(f"{seed}-{number}")) for number in range(count)],
        limit_s=300.0,
    )
    return drive(load)


def body(drawn: random.Random) -> str:
    """A small request: one to eight tokens, streamed or whole, of one of many users."""
    asked = {
        "model": "soak",
        "messages": [{"role": "user", "content": f"question {drawn.random()}"}],
        "max_tokens": drawn.randrange(1, 9),
        "stream": drawn.random() < 0.5,
        "stream_options": {"include_usage": True},
        "user": f"user-{drawn.randrange(USERS)}",
        "agent_id": f"agent-{drawn.randrange(20)}",
    }
    if not asked["stream"]:
        del asked["stream_options"]
    return json.dumps(asked)


def registry(alias: str, **args: Any) -> str:
    """The text of a registry of one preloaded scripted model with a price; `args`: its engine's."""
    return f"""\
models:
  {alias}:
    source: nowhere
    engine: scripted
    args: {json.dumps(args)}
    context: 4K
    output: 1K
    price: {{input: "5.00", output: "10.00"}}
    preload: true
profiles:
  embedded: {{}}
"""


@contextmanager
def serving(folder: Path) -> Iterator[tuple["subprocess.Popen[bytes]", int, str]]:
    """`fjord serve` on a free port: the process, its port and a good key."""
    text = registry("soak", text="the boats come home before the storm")
    places = ["--data-dir", str(folder / "data")]
    prepared_ledger(folder / "data")
    key = new_key("soak", places)
    process, port = started(folder, text, LIMITS)
    try:
        wait_until_ready(process, port)
        yield process, port, key
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def new_key(name: str, places: Sequence[str]) -> str:
    """Its text. `places`: where the data is, as flags."""
    command = fjord("keys", "create", "--name", name, "--json", *places)
    made = subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    return str(json.loads(made.stdout)["key"])


def started(
    folder: Path, registry_text: str, limits: Mapping[str, str]
) -> tuple["subprocess.Popen[bytes]", int]:
    """`fjord serve` of that registry, with its data and its log in `folder`: the process, which the
    caller ends, and its port."""
    (folder / "registry.yaml").write_text(registry_text)
    port = free_port()
    serve = ["serve", "--registry", str(folder / "registry.yaml"), "--profile", "embedded"]
    places = ["--data-dir", str(folder / "data")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            fjord(*serve, "--port", str(port), *places),
            env={**os.environ, **limits},
            stdout=log,
            stderr=log,
            cwd=ROOT,
        )
    return process, port


def fjord(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "server", *arguments]


def wait_until_ready(process: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + STARTS_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/ready").status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise SystemExit(f"The server did not start within {STARTS_S:g} s.")


def mib(process: psutil.Process) -> float:
    return round(process.memory_info().rss / 2**20, 1)


if __name__ == "__main__":
    main()
