"""What splitting the reasoning costs a token, for short traces and long ones.

python -m benchmarks.reasoning [--rounds 7] [--json benchmarks/results/reasoning.json]

The splitter alone, without an engine: µs of processor time a token, the least of the rounds. A
cost that grew with the trace would show down a column.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import surroundings
from engines.answers.thinking import ThinkingSplitter
from engines.base import Reasoning

LENGTHS = (100, 1_000, 32_000)
DELTAS: dict[str, int | None] = {"1": 1, "8": 8, "whole": None}
WAYS = ("id", "text")
ALL_TOKENS = 64_000
"""Of one measurement: as many traces as make so many."""
END_ID = 2
WORD = " thought"


@dataclass(frozen=True, slots=True)
class Form:
    """One cell of the table."""

    way: str
    delta: str
    length: int

    @property
    def name(self) -> str:
        return f"{self.way}, {self.delta}, {self.length}"


FORMS = [Form(way, delta, length) for way in WAYS for delta in DELTAS for length in LENGTHS]


def splitter(way: str) -> ThinkingSplitter:
    """By id where the marks are single tokens of the vocabulary, else by the text."""
    opened = Reasoning(opened_by="template")
    if way == "id":
        return ThinkingSplitter(opened, 1, END_ID)
    return ThinkingSplitter(opened, decode=lambda ids: "".join(map(_piece, ids)))


def _piece(token_id: int) -> str:
    return "</think>" if token_id == END_ID else WORD


def trace(length: int, size: int) -> Iterator[tuple[str, list[int]]]:
    """A thought of `length` tokens, the end mark its last, in deltas of `size`."""
    ids = [3] * (length - 1) + [END_ID]
    for at in range(0, length, size):
        delta = ids[at : at + size]
        yield "".join(map(_piece, delta)), delta


def us_a_token(form: Form) -> float:
    size = DELTAS[form.delta] or form.length
    deltas = list(trace(form.length, size))
    splitters = [splitter(form.way) for _ in range(ALL_TOKENS // form.length)]
    began = time.thread_time()
    for each in splitters:
        for text, ids in deltas:
            each.feed(text, ids)
    return 1e6 * (time.thread_time() - began) / (len(splitters) * form.length)


def measured(rounds: int) -> dict[str, float]:
    """The least of the rounds, each of which takes every form once."""
    found: dict[str, list[float]] = {form.name: [] for form in FORMS}
    for _ in range(rounds):
        for form in FORMS:
            found[form.name].append(us_a_token(form))
    return {name: round(min(costs), 4) for name, costs in found.items()}


def table(costs: dict[str, float]) -> str:
    """Markdown: a trace length a row, a way and a delta a column."""
    columns = [(way, delta) for way in WAYS for delta in DELTAS]
    rows = [["tokens", *(f"by {way}, {delta}" for way, delta in columns)], ["---:"] * 7]
    for length in LENGTHS:
        cells = [f"{costs[Form(way, delta, length).name]:.3f}" for way, delta in columns]
        rows.append([f"{length:,}", *cells])
    return "\n".join(_line(row) for row in rows)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    given = parser.parse_args()
    before = surroundings()
    costs = measured(given.rounds)
    print(table(costs))
    if given.json is not None:
        document: dict[str, Any] = {**before, "rounds": given.rounds, "us_a_token": costs}
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
