"""What the thread that exports traces takes of the server's CPU, at 64 streams on a scripted
engine: by the kernel's count for each thread of one process, so that a busy machine hurts both.

python -m benchmarks.trace_thread         70 s; writes results/trace-thread.json
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from benchmarks.cases import Case, bodies
from benchmarks.generator import drive
from benchmarks.load import Load
from benchmarks.machine import surroundings
from benchmarks.servers import ROOT
from benchmarks.traces import collector

SECONDS, REQUESTS, PORT = 70.0, 256, 18803
RESULT = Path(__file__).parent / "results/trace-thread.json"
REGISTRY = f"""\
models:
  bench: {{source: echo, engine: scripted, args: {{text: "{" ".join(["word"] * 200)}"}},
    context: 32K, output: 4K, preload: true}}
profiles: {{embedded: {{}}}}
"""
NOTED = """\
import sys, threading
from server.cli.main import main
from server.tracing.export import TraceExport
run = TraceExport._run
def noted(self, loop):
    open("thread", "w").write(str(threading.get_native_id()))
    run(self, loop)
TraceExport._run = noted
main()
"""
"""`fjord`, with the thread's number told."""


def used_s(pid: int, thread: str) -> float:
    text = Path(f"/proc/{pid}/task/{thread}/schedstat").read_text()
    return int(text.split()[0]) / 1e9


def measured(pid: int, thread: str, number: int, *, stream: bool) -> dict[str, Any]:
    def now() -> tuple[float, float]:
        every = os.listdir(f"/proc/{pid}/task")
        return sum(used_s(pid, each) for each in every), used_s(pid, thread)

    case = Case(streams=64, requests=REQUESTS, output_tokens=128, stream=stream)
    asked = bodies(case, number)
    path = "/v1/chat/completions"
    load = Load(host="127.0.0.1", port=PORT, path=path, headers={}, streams=64, bodies=asked)
    all_before, before = now()
    outcome = drive(load)
    time.sleep(2.2)  # what is left is exported
    all_after, after = now()
    rest_s = all_after - all_before - (after - before)
    return {
        "streamed": stream,
        "tokens": outcome.tokens,
        "rest_us_per_request": round(1e6 * rest_s / REQUESTS, 1),
        "thread_us_per_request": round(1e6 * (after - before) / REQUESTS, 1),
        "share": round((after - before) / rest_s, 5),
    }


def medians(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    figures = ("rest_us_per_request", "thread_us_per_request", "share")
    return {
        name: {f: statistics.median(r[f] for r in rows if r["streamed"] is kind) for f in figures}
        for name, kind in (("64 streamed", True), ("64 whole", False))
    }


def ready() -> None:
    for _ in range(900):
        try:
            if httpx.get(f"http://127.0.0.1:{PORT}/ready").status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise SystemExit("the server is not ready")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, collector() as url:
        (Path(folder) / "model_registry.yaml").write_text(REGISTRY)
        ours = {"FJORD_PROFILE": "embedded", "PYTHONPATH": str(ROOT), "FJORD_OTLP_ENDPOINT": url}
        command = [sys.executable, "-P", "-c", NOTED, "serve", "--no-auth", "--port", str(PORT)]
        quiet = subprocess.DEVNULL
        around = {**os.environ, **ours}
        server = subprocess.Popen(command, cwd=folder, env=around, stdout=quiet, stderr=quiet)
        try:
            ready()
            thread = (Path(folder) / "thread").read_text()
            rows: list[dict[str, Any]] = []
            until = time.monotonic() + SECONDS
            while time.monotonic() < until:
                stream = len(rows) % 2 == 0
                rows.append(measured(server.pid, thread, len(rows), stream=stream))
        finally:
            server.kill()
    document = {**surroundings(), "medians": medians(rows), "runs": rows}
    RESULT.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document["medians"], indent=1))


if __name__ == "__main__":
    main()
