"""Whether a second front process pays: all streams at the door of the server that has the engine,
beside half of them there and half at a front of its own, in turn.

python -m benchmarks.several_fronts [--rounds 3] [--streams 64,256]
    [--json benchmarks/results/several_fronts.json]
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.bench import generate
from benchmarks.cases import WARM_UP, Case
from benchmarks.figures import percentile
from benchmarks.forward import site
from benchmarks.front import front_cost
from benchmarks.load import Outcome
from benchmarks.machine import surroundings
from benchmarks.models import make_model
from benchmarks.servers import Server

_REQUESTS_A_STREAM = 4
_OUTPUT_TOKENS = 128


def asked(doors: Sequence[Server], servers: Sequence[Server], streams: int, seed: int) -> Any:
    """`streams` shared out equally among `doors`, at once; what all `servers` together give and
    take."""
    of_each = streams // len(doors)
    case = Case(
        streams=of_each, requests=of_each * _REQUESTS_A_STREAM, output_tokens=_OUTPUT_TOKENS
    )
    before = sum(front_cost(each.pid).cpu_s for each in servers)
    with ThreadPoolExecutor(len(doors)) as threads:
        seeds = range(seed * len(doors), (seed + 1) * len(doors))
        outcomes = list(threads.map(generate, doors, [case] * len(doors), seeds))
    cpu_s = sum(front_cost(each.pid).cpu_s for each in servers) - before
    return _figures(outcomes, cpu_s)


def _figures(outcomes: Sequence[Outcome], cpu_s: float) -> dict[str, Any]:
    tokens = sum(each.tokens for each in outcomes)
    first_s = [s for each in outcomes for s in each.ttft_s]
    return {
        "tokens_per_s": round(tokens / max(each.wall_s for each in outcomes), 1),
        "ttft_p50_ms": round(1e3 * percentile(first_s, 50), 1),
        "cpu_us_a_token": round(1e6 * cpu_s / tokens, 2),
        "errors": [error for each in outcomes for error in each.errors[:3]],
    }


def compared(servers: dict[str, Server], streams: int, rounds: int) -> dict[str, Any]:
    """Medians of one door and of two, and their ratios."""
    node, everyone = servers["node"], list(servers.values())
    found: dict[str, list[dict[str, Any]]] = {"one": [], "two": []}
    for number in range(1, rounds + 1):
        for name in found if number % 2 else reversed(found):
            doors = [node] if name == "one" else everyone
            found[name].append(asked(doors, everyone, streams, number))
    one, two = ({name: _median(rows, name) for name in _FIGURES} for rows in found.values())
    ratios = {name: round(two[name] / one[name], 3) for name in _FIGURES}
    return {"one": one, "two": two, "ratio": ratios, "rounds": found}


_FIGURES = ("tokens_per_s", "ttft_p50_ms", "cpu_us_a_token")


def _median(rows: Sequence[dict[str, Any]], name: str) -> float:
    return float(statistics.median(row[name] for row in rows))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.several_fronts", description=__doc__
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--streams", default="64,256")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    result: dict[str, Any] = {**surroundings(), "streams": {}}
    with tempfile.TemporaryDirectory(prefix="fjord-fronts-") as name:
        model = make_model("tiny", Path(name) / "model")
        with site(model, Path(name)) as servers:
            for server in servers.values():
                generate(server, WARM_UP, seed=0)
            for streams in map(int, given.streams.split(",")):
                result["streams"][streams] = compared(servers, streams, given.rounds)
                shown = {n: result["streams"][streams][n] for n in ("one", "two", "ratio")}
                sys.stdout.write(f"{streams} streams: {json.dumps(shown)}\n")
    if given.json:
        given.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
