"""Puts the newest result's plot and tables into the README: `python -m benchmarks.readme`."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.report import markdown
from benchmarks.servers import ROOT

RESULTS, README = ROOT / "benchmarks" / "results", ROOT / "README.md"
BEGIN, END = "<!-- bench -->\n", "<!-- /bench -->"
COMMAND = "make bench"


def newest(folder: Path = RESULTS) -> Path | None:
    """Of the full runs (bench-*.json), by the date inside."""
    found = list(folder.glob("bench-*.json"))
    return max(found, key=lambda path: str(_read(path)["date"]), default=None)


def section(result: Path | None) -> str:
    """What stands between the markers; nothing without a result."""
    if result is None:
        return ""
    at = f"benchmarks/results/{result.stem}"
    picture = f"![front CPU, tokens/s and TTFT over the number of streams]({at}.png)"
    source = (
        f"`{COMMAND}` makes this table; [how to read it](docs/benchmarks.md), [JSON]({at}.json)."
    )
    return f"{source}\n\n{markdown(_read(result))}\n{picture}\n"


def inserted(readme: str, between: str) -> str:
    """The README with `between` between its markers."""
    before, found, rest = readme.partition(BEGIN)
    _, closed, after = rest.partition(END)
    if not found or not closed:
        raise ValueError(f"the README has no {BEGIN.strip()} … {END} to put a table between")
    return before + BEGIN + between + END + after


def _read(path: Path) -> Mapping[str, Any]:
    document: Mapping[str, Any] = json.loads(path.read_text())
    return document


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.readme", description=__doc__)
    parser.add_argument("result", nargs="?", type=Path, help="a result's JSON (default: newest)")
    given = parser.parse_args()
    result = given.result or newest()
    if result is None:
        raise SystemExit(f"{RESULTS} holds no bench-*.json; `{COMMAND}` makes one")
    README.write_text(inserted(README.read_text(), section(result)))
    print(f"{README} shows {result}")


if __name__ == "__main__":
    main()
