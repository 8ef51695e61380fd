"""Whether one client's body holds up everybody's stream.

    python -m benchmarks.gaps --engine scripted|llamacpp|vllm [--only WORD] [--json FILE]
    python -m benchmarks.gaps --table FILE

64 streams run against a real `fjord serve`; then each body of benchmarks/hostile.py is posted alone
and eight at once. For each: the server's answer, its time, the longest gap between two chunks of a
stream, the longest in the times without such bodies beside it (what the machine itself does), and
what the server's event loop says (benchmarks/loop_probe.py): of the worst lateness, how much it
worked, waited for a core, or waited for the interpreter's lock. The hostile client has the lowest
priority, as one on another machine takes no core of ours. FILE keeps each engine's last run.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.gap_server import STREAMS
from benchmarks.gap_site import AT_ONCE, BOUND_MS, TRIES, Result, Site
from benchmarks.hostile import CATALOGUE
from benchmarks.machine import surroundings

ENGINES = ("scripted", "llamacpp", "vllm")
SHOWN_MS = 25.0
"""What is less on every engine is in the file alone."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engine", choices=ENGINES, default="scripted")
    parser.add_argument("--only", default="", help="bodies whose names hold one of these, by |")
    today = time.strftime("%Y-%m-%d")
    parser.add_argument("--json", type=Path, default=Path(f"benchmarks/results/gaps-{today}.json"))
    parser.add_argument("--table", type=Path, help="print a file's figures as markdown")
    given = parser.parse_args()
    if given.table:
        print(table(json.loads(given.table.read_text())["engines"]))
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the server goes with us
    names = [name for name in CATALOGUE if any(word in name for word in given.only.split("|"))]
    results = []
    for result in measured(given.engine, names):
        print(_line(result), flush=True)
        results.append(result)
        keep(given.json, given.engine, results)  # a run that is cut leaves what it has
    over = [result for result in results if result.worst_ms > BOUND_MS]
    print(f"{len(over)} of {len(results)} over {BOUND_MS:g} ms; {given.json}")


def measured(engine: str, names: Sequence[str]) -> Iterator[Result]:
    with tempfile.TemporaryDirectory() as folder, Site(engine, Path(folder)) as site:
        os.nice(19)
        for name in names:
            yield from site.measured(name)


def keep(file: Path, engine: str, results: Sequence[Result]) -> None:
    """Beside the other engines' figures that the file has; of this one the bodies measured now."""
    kept: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    engines: dict[str, Any] = kept.get("engines", {})
    rows = {f"{row['name']} x{row['at_once']}": row for row in engines.get(engine, ())}
    rows |= {f"{result.name} x{result.at_once}": _row(result) for result in results}
    engines[engine] = list(rows.values())
    document = {
        **surroundings(),
        "streams": STREAMS,
        "bound_ms": BOUND_MS,
        "best_of": TRIES,
        "over": {
            name: [key for key, row in _by_key(rows).items() if _worst(row) > BOUND_MS]
            for name, rows in engines.items()
        },
        "engines": engines,
    }
    file.write_text(json.dumps(document, indent=1) + "\n")


def _row(result: Result) -> dict[str, Any]:
    return asdict(result) | {"kept_ms": result.loop.ours_ms, "beyond_ms": result.beyond_ms}


def _by_key(rows: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {f"{row['name']} x{row['at_once']}": row for row in rows}


def _worst(row: Mapping[str, Any]) -> float:
    return float(max(row["kept_ms"], row["beyond_ms"]))


def table(engines: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Eight at once: for what the loop was kept / what the streams' longest gap grew by, in ms."""
    of = {
        engine: {row["name"]: row for row in rows if row["at_once"] == AT_ONCE}
        for engine, rows in engines.items()
    }
    names = dict.fromkeys(name for rows in of.values() for name in rows)
    lines = [f"| body, eight at once | {' | '.join(of)} |", "| --- |" + " ---: |" * len(of)]
    for name in names:
        rows = [rows.get(name) for rows in of.values()]
        if any(row is not None and _worst(row) >= SHOWN_MS for row in rows):
            lines.append(f"| {name} | {' | '.join(map(_cell, rows))} |")
    return "\n".join(lines)


def _cell(row: Mapping[str, Any] | None) -> str:
    return "–" if row is None else f"{row['kept_ms']:.0f} / {row['beyond_ms']:.0f}"


def _line(result: Result) -> str:
    loop = result.loop
    return (
        f"{'!' if result.worst_ms > BOUND_MS else ' '} {result.name[:44]:44} x{result.at_once}"
        f" gap {result.gap_ms:6.0f} (quiet {result.quiet_gap_ms:4.0f}) ms; loop late"
        f" {loop.late_ms:5.0f}: work {loop.worked_ms:4.0f}, lock {loop.locked_ms:4.0f}, core"
        f" {loop.without_core_ms:4.0f}; {result.answered_s:6.2f} s"
        f" {', '.join(result.answers)}; try {result.tries}"
    )


if __name__ == "__main__":
    main()
