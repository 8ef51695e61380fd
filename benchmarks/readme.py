"""Puts the newest result into the README, five lines and a plot, and all of it into
docs/benchmarks.md: `python -m benchmarks.readme`."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.headline import headline
from benchmarks.report import about, lines, markdown
from benchmarks.servers import ROOT

RESULTS = ROOT / "benchmarks" / "results"
README, DOCS = ROOT / "README.md", ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- bench -->\n", "<!-- /bench -->"
COMMAND = "make bench"


def newest(folder: Path = RESULTS) -> Path | None:
    """Of the full runs (bench-*.json), by the date inside."""
    found = list(folder.glob("bench-*.json"))
    return max(found, key=lambda path: str(_read(path)["date"]), default=None)


def section(result: Path | None) -> str:
    """What stands between the README's markers; nothing without a result."""
    if result is None:
        return ""
    document, at = _read(result), f"benchmarks/results/{result.stem}"
    [head, *rows] = headline(document)
    picture = f"![front CPU, tokens/s and TTFT over the number of streams]({at}.png)"
    source = f"`{COMMAND}` measures it: [every case, and how to read it](docs/benchmarks.md)."
    return "\n\n".join([about(document), lines(head, rows), source, picture]) + "\n"


def whole_section(result: Path | None) -> str:
    """What stands between the markers of docs/benchmarks.md."""
    if result is None:
        return ""
    at = f"../benchmarks/results/{result.stem}"
    return f"`{COMMAND}` makes these tables; [JSON]({at}.json).\n\n{markdown(_read(result))}"


def inserted(readme: str, between: str) -> str:
    """The page with `between` between its markers."""
    before, found, rest = readme.partition(BEGIN)
    _, closed, after = rest.partition(END)
    if not found or not closed:
        raise ValueError(f"the page has no {BEGIN.strip()} … {END} to put a table between")
    return before + BEGIN + between + END + after


def _read(path: Path) -> Mapping[str, Any]:
    document: Mapping[str, Any] = json.loads(path.read_text())
    return document


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.readme", description=__doc__)
    parser.add_argument("result", nargs="?", type=Path, help="a result's JSON (default: newest)")
    parser.add_argument(
        "--headline", action="store_true", help="the README alone: of a run of its cases only"
    )
    given = parser.parse_args()
    result = given.result or newest()
    if result is None:
        raise SystemExit(f"{RESULTS} holds no bench-*.json; `{COMMAND}` makes one")
    pages = [(README, section(result)), (DOCS, whole_section(result))]
    for page, text in pages[: 1 if given.headline else None]:
        page.write_text(inserted(page.read_text(), text))
        print(f"{page} shows {result}")


if __name__ == "__main__":
    main()
