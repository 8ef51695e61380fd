"""Fjord against vLLM's own OpenAI server on the same engine arguments, in turn: `make bench`.

python -m benchmarks --quick                   does it run, is the ratio sane (2 minutes)
python -m benchmarks --model tiny --rounds 3   the front-bound half of the table
python -m benchmarks --against ../fjord-0.1    with the Fjord of another checkout, in the same run
python -m benchmarks --ratios --sides fjord,vllm,rust ...     before and after a change; no file
python -m benchmarks                           everything (about an hour on two cores)
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.cases import WARM_UP, Case, bodies, cases_of
from benchmarks.figures import Measured, Started, as_json, measured, medians
from benchmarks.front import Cost, front_cost
from benchmarks.generator import DidNotMeasure, drive
from benchmarks.load import Load, Outcome
from benchmarks.machine import loop_ms, surroundings
from benchmarks.models import Model, make_model
from benchmarks.offline import offline
from benchmarks.processes import DidNotStart
from benchmarks.report import save, show, show_ratios
from benchmarks.servers import (
    FJORD,
    FJORD_PER_TOKEN,
    FJORD_PUBLIC,
    LITELLM,
    LITELLM_EVEN,
    OFFLINE,
    ROOT,
    RUST,
    RUST_EVEN,
    VLLM,
    VLLM_EVEN,
    Server,
    Side,
    another_version,
    serving,
)
from benchmarks.targets import verdicts

SIDES = {
    "fjord": FJORD,
    "vllm": VLLM,
    "rust": RUST,
    "per-token": FJORD_PER_TOKEN,
    "public": FJORD_PUBLIC,
    "vllm-even": VLLM_EVEN,
    "rust-even": RUST_EVEN,
    "litellm": LITELLM,
    "litellm-even": LITELLM_EVEN,
}
"""By their names on the command line."""
SIDE_CASES = {
    FJORD_PER_TOKEN.name: ("64 streamed", "256 streamed", "512 streamed"),
    FJORD_PUBLIC.name: ("64 streamed", "64 whole"),
    VLLM_EVEN.name: ("64 streamed", "256 streamed", "64 whole"),
    LITELLM.name: ("64 streamed", "64 whole"),
    LITELLM_EVEN.name: ("64 streamed", "64 whole"),
}
"""Of the sides that are not asked everything."""
_CONSOLE = Console(stderr=True)


@dataclass(slots=True)
class Results:
    """What has been measured so far."""

    measured: list[Measured] = field(default_factory=list)
    starts: list[Started] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        found = medians(self.measured)
        return {
            "targets": [asdict(verdict) for verdict in verdicts(found, self.starts)],
            "medians": as_json(found),
            "starts": [start.as_json() for start in self.starts],
            "runs": [asdict(result) for result in self.measured],
            "failures": self.failures,
        }


def compare(
    model: Model, sides: Sequence[Side], cases: Sequence[Case], rounds: int, folder: Path
) -> Results:
    """Every side in turn, `rounds` times. A side that fails leaves a line and hinders no other.

    Every second round goes backwards: a machine that drifts then favours no side.
    """
    results = Results()
    for number in range(1, rounds + 1):
        for side in sides if number % 2 else tuple(reversed(sides)):
            try:
                start = _one_offline if side == OFFLINE else _one_start
                start(model, side, cases_for(side, cases), number, folder, results)
            except (DidNotStart, DidNotMeasure) as error:
                results.failures.append(f"{model.name}, {side.name}, round {number}: {error}")
                _CONSOLE.print(f"[red]{results.failures[-1]}")
    return results


def cases_for(side: Side, cases: Sequence[Case]) -> Sequence[Case]:
    if side == OFFLINE:
        return [case for case in cases if case.requests == case.streams]
    names = SIDE_CASES.get(side.name)
    return [case for case in cases if names is None or case.name in names]


def _one_start(
    model: Model, side: Side, cases: Sequence[Case], number: int, folder: Path, results: Results
) -> None:
    _CONSOLE.print(f"round {number}: {side.name} on {model.name} …")
    with serving(side, model, folder) as server:
        generate(server, WARM_UP, seed=0)
        for case in cases:
            before_ms, before = loop_ms(), front_cost(server.pid)
            outcome = generate(server, case, seed=number)
            after, after_ms = front_cost(server.pid), loop_ms()
            result = measured(
                outcome,
                before,
                after,
                model=model.name,
                case=case.name,
                side=side.name,
                number=number,
                loop_ms=(before_ms + after_ms) / 2,
            )
            results.measured.append(result)
            results.failures += [f"{case.name}, {side.name}: {e}" for e in outcome.errors[:3]]
            _CONSOLE.print(f"  {_line(result)}")
        cost = front_cost(server.pid)
        results.starts.append(
            Started(
                model=model.name,
                side=side.name,
                round=number,
                health_s=server.health_s,
                ready_s=server.ready_s,
                rss_bytes=cost.rss_bytes,
                processes=cost.processes,
            )
        )


def _one_offline(
    model: Model, side: Side, cases: Sequence[Case], number: int, folder: Path, results: Results
) -> None:
    _CONSOLE.print(f"round {number}: {side.name} on {model.name} …")
    nothing = Cost(0.0, 0, 0)
    for case, outcome in zip(cases, offline(model, cases, number, folder), strict=True):
        result = measured(
            outcome,
            nothing,
            nothing,
            model=model.name,
            case=case.name,
            side=side.name,
            number=number,
        )
        results.measured.append(result)
        _CONSOLE.print(f"  {_line(result)}")


def generate(server: Server, case: Case, seed: int) -> Outcome:
    """Run the load generator on a case. Raises DidNotMeasure."""
    load = Load(
        host="127.0.0.1",
        port=server.port,
        path="/v1/chat/completions",
        headers=server.headers,
        streams=case.streams,
        bodies=bodies(case, seed),
    )
    return drive(load)


def _line(result: Measured) -> str:
    errors = f", [red]{result.errors} errors[/red]" if result.errors else ""
    return (
        f"{result.case}: {result.tokens_per_s:.0f} tokens/s, "
        f"{result.front_us_per_token:.1f} µs a token, TTFT {result.ttft_p50_ms:.0f} ms{errors}"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="one short round of the tiny model")
    parser.add_argument("--ratios", action="store_true", help="show ratios alone, keep no file")
    parser.add_argument("--model", choices=("tiny", "deep", "smollm2", "all"), default="all")
    parser.add_argument("--rounds", type=int, help="alternations (default 3)")
    parser.add_argument("--streams", type=_numbers, help="only these, for example 64,256")
    parser.add_argument("--only", help="only cases whose name contains this, for example whole")
    parser.add_argument("--without", help="no cases whose name contains this, for example 4k")
    parser.add_argument("--sides", help=f"of {', '.join(SIDES)} (default all)")
    parser.add_argument("--against", type=Path, help="another checkout of Fjord, one more side")
    parser.add_argument("--data", type=Path, default=Path("data/benchmarks"), help="models, logs")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--name", help="of the result's files (default: bench-<date>)")
    return parser.parse_args()


def _numbers(text: str) -> frozenset[int]:
    return frozenset(int(part) for part in text.split(","))


def _sides(given: argparse.Namespace) -> list[Side]:
    default = "fjord,vllm" if given.quick else ",".join(SIDES)
    names = (given.sides or default).split(",")
    unknown = [name for name in names if name not in SIDES]
    if unknown:
        raise SystemExit(f"--sides {unknown[0]!r} is unknown; right would be {', '.join(SIDES)}")
    other = [another_version(given.against)] if given.against else []
    return [*(SIDES[name] for name in names), *other]


def belongs(side: Side, model: str) -> bool:
    """The forms of the front differ on front-bound models only; "deep" is for a token a chunk. On
    "smollm2" the engine is the limit, so that the front in Rust has the threads that Fjord has."""
    if model == "deep":
        return side in (VLLM, RUST, FJORD_PER_TOKEN)
    return model == "tiny" or side in (FJORD, VLLM, RUST_EVEN) or side.checkout != ROOT


def _chosen(model: str, given: argparse.Namespace) -> Iterator[Case]:
    for case in cases_of(model, quick=given.quick):
        if given.streams and case.streams not in given.streams:
            continue
        if given.only and given.only not in case.name:
            continue
        if given.without and given.without in case.name:
            continue
        yield case


def main() -> None:
    given = _arguments()
    every = ["tiny"] if given.quick else ["tiny", "deep", "smollm2"]
    names = every if given.model == "all" else [given.model]
    around, results, began = surroundings(), Results(), time.monotonic()
    engine_args = {}
    for name in names:
        model = make_model(name, given.data.resolve())
        engine_args[name] = dict(model.engine_args)
        sides = [side for side in _sides(given) if belongs(side, name)]
        rounds = given.rounds or (1 if given.quick else 3)
        found = compare(model, sides, list(_chosen(name, given)), rounds, given.data)
        results.measured += found.measured
        results.starts += found.starts
        results.failures += found.failures
    took = {"minutes": round((time.monotonic() - began) / 60, 1)}
    document = {**around, **took, "engine_args": engine_args, **results.as_json()}
    if given.ratios:
        show_ratios(document)
    else:
        show(document)
        save(document, given.out, given.name or f"bench-{around['date'][:10]}")
    sys.exit(1 if results.failures else 0)


if __name__ == "__main__":
    main()
