"""SmolLM2 through Fjord against vLLM's own LLM.generate: `python -m benchmarks.throughput`.

Same model, dtype and engine arguments; 1, 8 and 32 requests at once; medians over the rounds. Fjord
renders, tokenises, streams, meters and bills inside the time that is measured.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.bench import compare
from benchmarks.cases import Case
from benchmarks.machine import surroundings
from benchmarks.models import make_model
from benchmarks.report import save, show
from benchmarks.servers import FJORD, OFFLINE

AT_LEAST = 0.95


def cases(tokens: int) -> list[Case]:
    return [Case(streams=n, requests=n, output_tokens=tokens) for n in (1, 8, 32)]


def targets(medians: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Fjord's tokens/s over LLM.generate's, a case each."""
    speed = {(row["case"], row["side"]): row["tokens_per_s"] for row in medians}
    found = []
    for case in dict.fromkeys(case for case, _ in speed):
        ours, theirs = speed.get((case, FJORD.name)), speed.get((case, OFFLINE.name))
        if ours and theirs:
            found.append(_target(case, ours, theirs))
    return found


def _target(case: str, ours: float, theirs: float) -> dict[str, Any]:
    return {
        "label": f"SmolLM2 tokens/s, {case}, against LLM.generate",
        "bound": f"≥ {AT_LEAST:g} ×",
        "fjord": ours,
        "vllm": theirs,
        "ratio": ours / theirs,
        "reached": ours / theirs >= AT_LEAST,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.throughput", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=64, help="of an answer, on average")
    parser.add_argument("--model", choices=("tiny", "smollm2"), default="smollm2")
    parser.add_argument("--data", type=Path, default=Path("data/benchmarks"), help="models, logs")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--name", help="of the result's files (default: throughput-<date>)")
    given = parser.parse_args()
    around = surroundings()
    model = make_model(given.model, given.data.resolve())
    results = compare(model, [FJORD, OFFLINE], cases(given.tokens), given.rounds, given.data)
    document = {**around, "engine_args": {model.name: dict(model.engine_args)}}
    document |= results.as_json()
    document["targets"] = targets(document["medians"])
    show(document)
    save(document, given.out, given.name or f"throughput-{around['date'][:10]}")
    sys.exit(1 if results.failures else 0)


if __name__ == "__main__":
    main()
