"""The headline through another generator, vLLM's own `bench serve`.

It knows nothing of our load generator. It parses every chunk as JSON, in Python, on the same cores:
where these are few, look at the front's CPU before tokens/s.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.bench import generate
from benchmarks.cases import WARM_UP
from benchmarks.front import front_cost
from benchmarks.machine import surroundings
from benchmarks.models import Model, make_model
from benchmarks.servers import ALIAS, FJORD, ROOT, VLLM, Server, Side, engine_environment, serving

FIGURES = ("output_throughput", "median_ttft_ms", "p99_ttft_ms", "median_itl_ms", "completed")


def _measure(side: Side, model: Model, folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    with serving(side, model, folder) as server:
        generate(server, WARM_UP, seed=0)
        before, generator = front_cost(server.pid), _generator_cpu_s()
        found = _bench_serve(server, model, folder, given)
        after, generator = front_cost(server.pid), _generator_cpu_s() - generator
    tokens, chunks = found["total_output_tokens"], sum(1 + len(gaps) for gaps in found["itls"])
    return {
        "side": side.name,
        **{name: found[name] for name in FIGURES},
        "front_us_per_token": 1e6 * (after.cpu_s - before.cpu_s) / tokens,
        "tokens_per_chunk": tokens / chunks,
        "generator_us_per_token": 1e6 * generator / tokens,
    }


def _generator_cpu_s() -> float:
    """Of all children that have ended; a generator's start is in it."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def command(server: Server, model: Model, folder: Path, given: argparse.Namespace) -> list[str]:
    """`vllm bench serve`'s own arguments."""
    line = ["--backend", "openai-chat", "--endpoint", "/v1/chat/completions"]
    line += ["--port", str(server.port), "--model", ALIAS, "--tokenizer", str(model.folder)]
    line += ["--dataset-name", "random", "--random-input-len", "32", "--random-output-len", "128"]
    line += ["--num-prompts", str(given.requests), "--max-concurrency", str(given.streams)]
    line += ["--ignore-eos", "--temperature", "0", "--seed", "1", "--disable-tqdm"]
    line += ["--percentile-metrics", "ttft,itl", "--metric-percentiles", "99"]
    line += [
        "--save-result",
        "--save-detailed",
        "--result-dir",
        str(folder),
        "--result-filename",
        "outside.json",
    ]
    pairs = [f"{name}={value}" for name, value in server.headers.items()]
    return line + (["--header", *pairs] if pairs else [])


def _bench_serve(
    server: Server, model: Model, folder: Path, given: argparse.Namespace
) -> Mapping[str, Any]:
    result = folder / "outside.json"
    result.unlink(missing_ok=True)
    arguments = command(server, model, folder, given)
    called = [sys.executable, "-c", _CALL, *arguments]
    subprocess.run(called, check=True, cwd=ROOT, env=_environment())
    found: Mapping[str, Any] = json.loads(result.read_text())
    if found["completed"] != given.requests:
        raise SystemExit(f"only {found['completed']} of {given.requests} requests were answered")
    return found


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


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.outside", description=__doc__)
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--requests", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--model", choices=("tiny", "smollm2"), default="tiny")
    parser.add_argument("--data", type=Path, default=Path("data/benchmarks"), help="models, logs")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    given = parser.parse_args()
    around, folder = surroundings(), given.data.resolve()
    model = make_model(given.model, folder)
    runs = [_measure(s, model, folder, given) for _ in range(given.rounds) for s in (VLLM, FJORD)]
    for run in runs:
        print(json.dumps(run))
    document = {**around, "model": model.name, "streams": given.streams, "runs": runs}
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.out / f"outside-{around['date'][:10]}.json"
    path.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
