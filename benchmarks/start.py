"""How long a server of a model of Qwen3-0.6B's shape takes until it serves: Fjord's and vLLM's own,
in turn; a first time, with every cache empty, and a second time with what the first has left.

    python -m benchmarks.start [--rounds 3] [--sides fjord,vllm] [--eager] [--without-second-engine]
        [--json benchmarks/results/start.json]

Weights of a seed (1.2 GB) and packages are read from the disk once before. Each first start has its
own caches and data directory, and the second start the same ones.
Then: an engine starts while another one of the same server streams (benchmarks/load_gaps.py).
"""

import argparse
import importlib.metadata
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from benchmarks import load_gaps
from benchmarks.bench import SIDES
from benchmarks.machine import surroundings
from benchmarks.models import Model, make_model
from benchmarks.servers import FJORD, ROOT, VLLM, Side, engine_environment, serving

MOST_RATIO = 0.7
MOST_GAP_MS = 50.0
CACHES = {
    "XDG_CACHE_HOME": "xdg",
    "VLLM_CACHE_ROOT": "vllm",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "TRITON_CACHE_DIR": "triton",
}
READ_BEFORE = ("vllm.entrypoints.openai.api_server", "vllm.v1.engine.core", "server.app")
FIRST, SECOND = "first", "second"


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One start."""

    side: str
    which: str
    """The first with these caches, or the second."""
    health_s: float
    ready_s: float
    cpu_s: float
    """Of all its processes and of those they waited for, when it is ready."""


def started(side: Side, model: Model, folder: Path) -> list[Start]:
    """Two starts with caches of their own."""
    with tempfile.TemporaryDirectory(prefix="start-", dir=folder) as name:
        caches, kept = Path(name) / "caches", Path(name) / "data"
        kept.mkdir()
        places = {variable: str(caches / place) for variable, place in CACHES.items()}
        cold = replace(side, environment={**side.environment, **places})
        return [_started(cold, model, folder, kept, which) for which in (FIRST, SECOND)]


def _started(side: Side, model: Model, folder: Path, kept: Path, which: str) -> Start:
    with serving(side, model, folder, kept) as server:
        start = Start(
            side=side.name,
            which=which,
            health_s=round(server.health_s, 2),
            ready_s=round(server.ready_s, 2),
            cpu_s=round(tree_cpu_s(server.pid), 2),
        )
    print(json.dumps(asdict(start)), flush=True)
    return start


def tree_cpu_s(pid: int) -> float:
    root = psutil.Process(pid)
    times = [each.cpu_times() for each in (root, *root.children(recursive=True))]
    return float(sum(t.user + t.system + t.children_user + t.children_system for t in times))


def read_all(model: Model) -> None:
    """Weights and packages, from the disk into memory: so that nobody's first start does it."""
    for path in model.folder.glob("*.safetensors"):
        with path.open("rb") as weights:
            while weights.read(1 << 24):
                pass
    for module in READ_BEFORE:
        command = [sys.executable, "-c", f"import {module}"]
        subprocess.run(command, check=True, cwd=ROOT, capture_output=True)


def summary(starts: Sequence[Start]) -> list[dict[str, Any]]:
    """Medians of each start, and Fjord's over vLLM's own server's."""
    return [row for which in (FIRST, SECOND) for row in _rows(starts, which)]


def _rows(starts: Sequence[Start], which: str) -> list[dict[str, Any]]:
    sides = list(dict.fromkeys(start.side for start in starts))
    of = {side: [s for s in starts if (s.side, s.which) == (side, which)] for side in sides}
    medians = {
        side: {
            name: statistics.median(getattr(start, name) for start in found)
            for name in ("health_s", "ready_s", "cpu_s")
        }
        for side, found in of.items()
    }
    return [_row(which, side, medians) for side in sides]


def _row(which: str, side: str, medians: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    row: dict[str, Any] = {"which": which, "side": side, **medians[side]}
    if side == FJORD.name and VLLM.name in medians:
        ratio = medians[side]["ready_s"] / medians[VLLM.name]["ready_s"]
        row |= {"ratio": round(ratio, 3), "bound": MOST_RATIO, "reached": ratio <= MOST_RATIO}
    return row


def second_engine(rounds: int) -> dict[str, Any]:
    """The gaps of eight streams of one engine while another starts, beside those while another
    server's does."""
    os.environ |= engine_environment()
    row = load_gaps.measured("vllm", "vllm", rounds)
    worst_ms = max(span.without_core_ms for span in row.ours)
    verdict = {"worst_ms": worst_ms, "bound_ms": MOST_GAP_MS, "reached": worst_ms <= MOST_GAP_MS}
    return {**load_gaps.as_json(row), **verdict}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sides", default="fjord,vllm")
    parser.add_argument("--model", default="qwen0.6b", help="a name of benchmarks/models.py")
    parser.add_argument("--eager", action="store_true", help="nothing is compiled")
    parser.add_argument("--without-second-engine", action="store_true")
    parser.add_argument("--data", type=Path, default=Path("data/benchmarks"), help="models, logs")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/start.json"))
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the servers go with us
    sides = [SIDES[name] for name in given.sides.split(",")]
    around, starts = surroundings(), list[Start]()
    model = make_model(given.model, given.data.resolve())
    arguments = {**model.engine_args} | ({"enforce_eager": True} if given.eager else {})
    model = replace(model, engine_args=arguments)
    read_all(model)
    document = {**around, "model": model.name, "engine_args": arguments, "compilers": compilers()}
    for number in range(given.rounds):
        for side in sides[:: 1 if number % 2 == 0 else -1]:
            starts += started(side, model, given.data.resolve())
            document |= {"rows": summary(starts), "starts": [asdict(start) for start in starts]}
            given.json.write_text(json.dumps(document, indent=1) + "\n")
    if not given.without_second_engine:
        document["second_engine"] = second_engine(given.rounds)
        given.json.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps({name: document.get(name) for name in ("rows", "second_engine")}, indent=1))


def compilers() -> dict[str, str]:
    """What decides whether anything can be compiled at a start."""
    found = {name: importlib.metadata.version(name) for name in ("torch",)}
    done = subprocess.run(["sh", "-c", "g++ --version || true"], capture_output=True, text=True)
    return {**found, "g++": done.stdout.split("\n", 1)[0]}


if __name__ == "__main__":
    main()
