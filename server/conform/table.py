"""Results for people and for programs: a table, and JSON."""

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from server.conform.check import Result
from server.conform.run import counts

STYLES = {"pass": "green", "fail": "bold red", "differs": "yellow", "skipped": "dim"}


def show(console: Console, results: Sequence[Result]) -> None:
    """A row a check, and the sums."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("", "check", "whose word", "rule, and what was seen"):
        table.add_column(name, overflow="fold")
    for r in results:
        style = STYLES[r.verdict]
        verdict = f"[{style}]{r.verdict}[/]"
        table.add_row(verdict, r.check.id, r.check.source, escape(_words(r)))
    console.print(table)
    console.print(summary(results))


def summary(results: Sequence[Result]) -> str:
    """One line: 90 passed, 1 failed, 2 differ, 7 skipped."""
    c = counts(results)
    return (
        f"{c['pass']} passed, {c['fail']} failed, {c['differs']} differ, {c['skipped']} skipped, "
        f"of {len(results)} checks. Each cites its rule in docs/contract.md."
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


def _words(r: Result) -> str:
    if r.verdict == "pass":
        return r.check.title
    if r.verdict == "skipped":
        return f"{r.check.title}\n  {r.seen}"
    return f"{r.check.title}\n  expected {r.expected}\n  saw {r.seen}\n  {r.check.cites}"
