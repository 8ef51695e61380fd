"""What traces cost the front: one Fjord with --otlp-endpoint and one without, both running, asked
in turn at 64 streams; their order changes each round. A collector of its own takes each batch.

python -m benchmarks.traces               8 minutes on two quiet cores; writes results/traces.json
"""

import json
import multiprocessing
import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from benchmarks.bench import generate
from benchmarks.cases import WARM_UP, Case
from benchmarks.figures import Measured, measured
from benchmarks.front import front_cost
from benchmarks.machine import surroundings
from benchmarks.models import make_model
from benchmarks.servers import FJORD, Server, serving

ROUNDS = 10
CASES = (
    Case(streams=64, requests=1024, output_tokens=128),
    Case(streams=64, requests=1024, output_tokens=128, stream=False),
)
FIGURES = ("front_us_per_token", "tokens_per_s", "ttft_p50_ms", "itl_p99_ms")
RESULT = Path(__file__).parent / "results/traces.json"


class Taking(BaseHTTPRequestHandler):
    """Takes every batch and keeps none."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def take_traces(address: Any) -> None:
    """A collector, in a process of its own; `address` (a queue) gets its own."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Taking)
    address.put(f"http://127.0.0.1:{server.server_address[1]}")
    server.serve_forever()


@contextmanager
def collector() -> Iterator[str]:
    context = multiprocessing.get_context("spawn")
    address = context.Queue()
    process = context.Process(target=take_traces, args=(address,), daemon=True)
    process.start()
    try:
        yield address.get(timeout=60)
    finally:
        process.terminate()
        process.join()


def compared(servers: dict[str, Server]) -> list[Measured]:
    found = []
    for number in range(1, ROUNDS + 1):
        sides = list(servers) if number % 2 else list(reversed(servers))
        for case in CASES:
            for side in sides:
                found.append(one(servers[side], side, case, number))
                sys.stderr.write(f"{side}, {case.name}: {found[-1].front_us_per_token:.2f} µs\n")
    return found


def one(server: Server, side: str, case: Case, number: int) -> Measured:
    before = front_cost(server.pid)
    outcome = generate(server, case, seed=number)
    after = front_cost(server.pid)
    names = {"model": "tiny", "case": case.name, "side": side, "number": number}
    return measured(outcome, before, after, **names)  # type: ignore[arg-type]


def medians(found: Sequence[Measured]) -> dict[str, Any]:
    """Of each case: both sides' figures, and the ratio of every round's pair."""
    return {case.name: _of_case([m for m in found if m.case == case.name]) for case in CASES}


def _of_case(found: Sequence[Measured]) -> dict[str, Any]:
    out: dict[str, Any] = {"errors": sum(each.errors for each in found)}
    for figure in FIGURES:
        off, on = (
            [getattr(m, figure) for m in found if (m.side == "traced") is is_on]
            for is_on in (False, True)
        )
        pairs = [b / a for a, b in zip(off, on, strict=True) if a]
        out[figure] = {
            "off": round(statistics.median(off), 3),
            "on": round(statistics.median(on), 3),
            "ratio": round(statistics.median(pairs), 4) if pairs else None,
        }
    return out


def main() -> None:
    folder = Path("data/benchmarks").resolve()
    model = make_model("tiny", folder)
    with collector() as url, ExitStack() as stack:
        traced = replace(FJORD, name="traced", environment={"FJORD_OTLP_ENDPOINT": url})
        sides = (replace(FJORD, name="off"), traced)
        servers = {
            side.name: stack.enter_context(serving(side, model, folder / f"traces-{side.name}"))
            for side in sides
        }
        for server in servers.values():
            generate(server, WARM_UP, seed=0)
        found = compared(servers)
    document = {**surroundings(), "rounds": ROUNDS, "medians": medians(found)}
    RESULT.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document["medians"], indent=1))


if __name__ == "__main__":
    main()
