"""Results for people and for programs: lines of a terminal's width, and JSON."""

import json
import textwrap
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from server.conform.check import Result
from server.conform.run import counts

STYLES = {"pass": "green", "fail": "bold red", "differs": "yellow", "skipped": "dim"}
INDENT = " " * (max(map(len, STYLES)) + 2)


def show(console: Console, results: Sequence[Result]) -> None:
    """A check a line where its id and title fit, else its title beneath; what was seen of one that
    did not pass, in the whole width; and the sums."""
    ids = max((len(r.check.id) for r in results), default=0)
    for r in results:
        line, beneath = _lines(r, ids, console.width)
        console.print(
            f"[{STYLES[r.verdict]}]{r.verdict:<{len(INDENT)}}[/]{escape(line)}", soft_wrap=True
        )
        for each in beneath:
            console.print(escape(each), soft_wrap=True)
    console.print(summary(results), soft_wrap=True)


def _lines(r: Result, ids: int, width: int) -> tuple[str, list[str]]:
    """What stands behind the verdict, and the lines beneath."""
    in_one = f"{r.check.id:<{ids}}  {r.check.title}"
    if len(INDENT) + len(in_one) <= width:
        return in_one, _seen(r, width)
    return r.check.id, _folded(r.check.title, width) + _seen(r, width)


def _folded(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(20, width), initial_indent=INDENT, subsequent_indent=INDENT)


def _seen(r: Result, width: int) -> list[str]:
    said = {
        "pass": [],
        "skipped": [r.seen],
        "fail": [f"expected {r.expected}", f"saw {r.seen}", f"{r.check.source}: {r.check.cites}"],
    }
    return [line for text in said.get(r.verdict, said["fail"]) for line in _folded(text, width)]


def summary(results: Sequence[Result]) -> str:
    """One line: 90 passed, 1 failed, 2 differ, 7 skipped."""
    c = counts(results)
    return (
        f"{c['pass']} passed, {c['fail']} failed, {c['differs']} differ, {c['skipped']} skipped, "
        f"of {len(results)} checks."
    )


def as_json(base_url: str, model: str, results: Sequence[Result]) -> str:
    """The same for programs; no key is in it."""
    body = {
        "base_url": base_url,
        "model": model,
        "counts": dict(counts(results)),
        "checks": [_row(r) for r in results],
    }
    return json.dumps(body, indent=1, ensure_ascii=False) + "\n"


def _row(r: Result) -> dict[str, Any]:
    return {
        "id": r.check.id,
        "title": r.check.title,
        "source": r.check.source,
        "cites": r.check.cites,
        "verdict": r.verdict,
        "expected": r.expected,
        "seen": r.seen,
        "duration_s": r.duration_s,
    }
