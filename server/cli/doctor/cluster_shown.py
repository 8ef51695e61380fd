"""What was found of several machines: a line each under their names, or one document."""

import json
import textwrap
from collections.abc import Sequence
from itertools import groupby

import typer

from engines.probing.findings import ProbeFinding, findings_document
from server.cli.tables import printable, terminal_width

MARKS = {"ok": "ok", "note": "note", "bad": "BAD"}
COLOURS = {"ok": typer.colors.GREEN, "note": typer.colors.YELLOW, "bad": typer.colors.RED}
INDENT = 16
MOST_WORDS = 1000


def told(found: Sequence[ProbeFinding], *, as_json: bool) -> int:
    """The exit status."""
    if as_json:
        typer.echo(json.dumps(findings_document(found)))
    else:
        show(found)
    return 1 if any(each.state == "bad" for each in found) else 0


def show(found: Sequence[ProbeFinding]) -> None:
    for name, of_node in groupby(found, key=lambda each: each.node):
        typer.secho(printable(name), bold=True)
        for each in of_node:
            _show(each)
    count = sum(each.state == "bad" for each in found)
    typer.echo(f"\n{'Nothing stands in the way.' if not count else f'{count} to mend.'}")


def _show(found: ProbeFinding) -> None:
    mark = typer.style(f"{MARKS[found.state]:4}", fg=COLOURS[found.state])
    words = found.words + (f"; {found.remedy}" if found.remedy else "")
    width = max(20, min(terminal_width(), 200) - INDENT)
    lines = textwrap.wrap(printable(words)[:MOST_WORDS], width, break_on_hyphens=False) or [""]
    typer.echo(f"{mark} {found.name:<10} {lines[0]}")
    for line in lines[1:]:
        typer.echo(" " * INDENT + line)
