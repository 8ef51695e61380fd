"""The headline through other generators: vLLM's own `bench serve`, and that of its Rust binary.

They know nothing of our load generator. The one parses every chunk as JSON in Python, on the same
cores: where these are few, look at the front's CPU before tokens/s. The other takes a tenth of it.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.bench import SIDES, generate
from benchmarks.cases import WARM_UP
from benchmarks.front import front_cost
from benchmarks.machine import surroundings
from benchmarks.models import Model, make_model
from benchmarks.rust_front import rust_front
from benchmarks.servers import ALIAS, ROOT, Server, Side, engine_environment, serving

PYTHON, RUST_BENCH = "python", "rust"
RESULT = "outside.json"
FIGURES = ("output_throughput", "median_ttft_ms", "p99_ttft_ms", "median_itl_ms", "completed")


def _measure(side: Side, model: Model, folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    with serving(side, model, folder) as server:
        generate(server, WARM_UP, seed=0)
        before, generator = front_cost(server.pid), _generator_cpu_s()
        found = _bench_serve(server, model, folder, given)
        after, generator = front_cost(server.pid), _generator_cpu_s() - generator
    tokens = found["total_output_tokens"]
    return {
        "side": side.name,
        **{name: found[name] for name in FIGURES},
        "front_us_per_token": 1e6 * (after.cpu_s - before.cpu_s) / tokens,
        "tokens_per_chunk": _tokens_per_chunk(found),
        "generator_us_per_token": 1e6 * generator / tokens,
    }


def _tokens_per_chunk(found: Mapping[str, Any]) -> float | None:
    """None: it does not say each chunk's time."""
    chunks = sum(1 + len(gaps) for gaps in found.get("itls") or ())
    return found["total_output_tokens"] / chunks if chunks else None


def _generator_cpu_s() -> float:
    """Of all children that have ended; a generator's start is in it."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def command(server: Server, model: Model, folder: Path, given: argparse.Namespace) -> list[str]:
    """`vllm bench serve`'s own arguments, which are those of `vllm-rs bench serve` too."""
    line = ["--backend", "openai-chat", "--endpoint", "/v1/chat/completions"]
    line += ["--port", str(server.port), "--model", ALIAS, "--tokenizer", str(model.folder)]
    line += ["--dataset-name", "random", "--random-input-len", "32", "--random-output-len", "128"]
    line += ["--num-prompts", str(given.requests), "--max-concurrency", str(given.streams)]
    line += ["--ignore-eos", "--temperature", "0", "--seed", "1", "--disable-tqdm"]
    line += ["--percentile-metrics", "ttft,itl", "--metric-percentiles", "99"]
    line += ["--save-result", "--save-detailed", "--result-dir", str(folder)]
    line += ["--result-filename", RESULT]
    pairs = [f"{name}={value}" for name, value in server.headers.items()]
    return line + (["--header", *pairs] if pairs else [])


def _bench_serve(
    server: Server, model: Model, folder: Path, given: argparse.Namespace
) -> Mapping[str, Any]:
    result = folder / RESULT
    result.unlink(missing_ok=True)
    called = [*_generator(given.generator, folder), *command(server, model, folder, given)]
    subprocess.run(called, check=True, cwd=ROOT, env=_environment())
    found: Mapping[str, Any] = json.loads(result.read_text())
    if found["completed"] != given.requests:
        raise SystemExit(f"only {found['completed']} of {given.requests} requests were answered")
    return found


def _generator(name: str, folder: Path) -> list[str]:
    if name == PYTHON:
        return [sys.executable, "-c", _CALL]
    return [str(rust_front(folder)), "bench", "serve"]


def _environment() -> dict[str, str]:
    return {**os.environ, **engine_environment()}


# vLLM's CPU build has no distribution named vllm, without which its command line does not start.
_CALL = """
import sys
from vllm.benchmarks.serve import add_cli_args, main
from vllm.utils.argparse_utils import FlexibleArgumentParser
parser = FlexibleArgumentParser(prog="vllm bench serve")
add_cli_args(parser)
main(parser.parse_args(sys.argv[1:]))
"""


def medians(runs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Side -> figure -> over the rounds."""
    sides = dict.fromkeys(run["side"] for run in runs)
    return {side: _medians([run for run in runs if run["side"] == side]) for side in sides}


def _medians(runs: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    names = [name for name, value in runs[0].items() if isinstance(value, int | float)]
    return {name: statistics.median(run[name] for run in runs) for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.outside", description=__doc__)
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--requests", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--sides", default="vllm,rust,fjord", help="names of `make bench`'s sides")
    parser.add_argument("--generator", choices=(PYTHON, RUST_BENCH), default=PYTHON)
    parser.add_argument("--model", choices=("tiny", "smollm2"), default="tiny")
    parser.add_argument("--data", type=Path, default=Path("data/benchmarks"), help="models, logs")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    given = parser.parse_args()
    around, folder = surroundings(), given.data.resolve()
    model = make_model(given.model, folder)
    sides, runs = [SIDES[name] for name in given.sides.split(",")], []
    for number in range(given.rounds):
        for side in sides[:: 1 if number % 2 == 0 else -1]:
            runs.append(_measure(side, model, folder, given))
            print(json.dumps(runs[-1]), flush=True)
    asked = {"generator": given.generator, "model": model.name, "streams": given.streams}
    document = {**around, **asked, "medians": medians(runs), "runs": runs}
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.out / f"outside-{given.generator}-{around['date'][:10]}.json"
    path.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
