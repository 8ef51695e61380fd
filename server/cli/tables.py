"""Tables for a terminal of any width: nothing is ever cut, and no frame is drawn.

A row is a line where all lines fit; else its long cells go beneath it; else it is a block of
`name  value` lines. Into a pipe a row is always a line.
"""

import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import typer
from rich.cells import cell_len

GAP = "  "
UNBOUNDED = sys.maxsize


@dataclass(frozen=True, slots=True)
class Column:
    """A heading (its words may stand above each other), and how its cells stand."""

    heading: str
    is_number: bool = False
    is_long: bool = False
    """May go beneath the row."""


def show_table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
    heads, lines = table_lines(columns, list(rows), terminal_width())
    for head in heads:
        typer.secho(head, bold=True)
    for line in lines:
        typer.echo(line)


def show_fields(fields: Sequence[tuple[str, str]]) -> None:
    """One thing, a field a line."""
    columns = [Column(name) for name, _ in fields]
    shown = [printable(value) for _, value in fields]
    for line in _as_blocks(columns, [shown], terminal_width()):
        typer.echo(line)


def terminal_width() -> int:
    if sys.stdout.isatty() or os.environ.get("COLUMNS"):
        return shutil.get_terminal_size().columns
    return UNBOUNDED


def table_lines(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int
) -> tuple[list[str], list[str]]:
    """The lines of the heading, and those of the rows."""
    shown = [[printable(cell) for cell in row] for row in rows]
    every = list(range(len(columns)))
    short = [i for i in every if not columns[i].is_long]
    for inline, is_stacked in ((every, False), (every, True), (short, False), (short, True)):
        widths = {i: _width(columns[i], [row[i] for row in shown], is_stacked) for i in inline}
        if sum(widths.values()) + len(GAP) * (len(inline) - 1) <= width:
            beneath = [i for i in every if i not in inline]
            return _as_lines(columns, shown, widths, beneath, width)
    return [], _as_blocks(columns, shown, width)


def _as_lines(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    widths: dict[int, int],
    beneath: Sequence[int],
    width: int,
) -> tuple[list[str], list[str]]:
    def line(cells: Sequence[str]) -> str:
        return GAP.join(_set(cells[i], w, columns[i].is_number) for i, w in widths.items()).rstrip()

    stacks = [_stacked(column, widths.get(i)) for i, column in enumerate(columns)]
    height = max(len(stacks[i]) for i in widths)
    padded = [[""] * (height - len(stack)) + stack for stack in stacks]
    lines = []
    for row in rows:
        lines.append(line(row))
        for i in beneath:
            lines += _folded(GAP, row[i], width)
    return [line([stack[n] for stack in padded]) for n in range(height) if widths], lines


def _as_blocks(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    names = max(cell_len(column.heading) for column in columns)
    lines: list[str] = []
    for row in rows:
        lines += [""] if lines else []
        for column, cell in zip(columns, row, strict=True):
            lines += _folded(_set(column.heading, names, False) + GAP, cell, width)
    return lines


def _folded(before: str, text: str, width: int) -> list[str]:
    """`text` after `before`, on as many lines as it takes, the later ones indented as far."""
    room = max(1, width - cell_len(before))
    parts = textwrap.wrap(text, room, break_on_hyphens=False) or [""]
    indent = " " * cell_len(before)
    return [(before if i == 0 else indent) + part for i, part in enumerate(parts)]


def _width(column: Column, cells: Sequence[str], is_stacked: bool) -> int:
    heading = column.heading.split() if is_stacked else [column.heading]
    return max(map(cell_len, [*heading, *cells]), default=0)


def _stacked(column: Column, width: int | None) -> list[str]:
    """The heading in one line where it fits, else a word a line."""
    if width is None or cell_len(column.heading) <= width:
        return [column.heading]
    return column.heading.split()


def _set(text: str, width: int, is_right: bool) -> str:
    space = " " * (width - cell_len(text))
    return space + text if is_right else text + space


def printable(text: str) -> str:
    """No control character of a name may reach the terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)
