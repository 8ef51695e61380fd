"""How far long work is: a bar at a terminal, a line now and then elsewhere. Both go to stderr."""

import sys
import time
from types import TracebackType

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column

LINE_EVERY_S = 10.0
_LEAST_BYTES = 1000
"""A smaller total counts steps: no speed is shown."""


class Bar:
    """One thing at a time; `progress` is what engines/weights tells: what, done, of how many."""

    def __init__(self) -> None:
        self._is_drawn = sys.stderr.isatty()
        self._rich = _rich_progress() if self._is_drawn else None
        self._task = None if self._rich is None else self._rich.add_task("", total=None)
        self._what = ""
        self._said_at = 0.0

    def progress(self, what: str, done: int | None, total: int | None) -> None:
        if self._rich is not None and self._task is not None:
            if what != self._what:
                self._rich.reset(self._task)
            self._rich.update(self._task, description=what, completed=done or 0, total=total)
        else:
            self._say(what, done, total)
        self._what = what

    def _say(self, what: str, done: int | None, total: int | None) -> None:
        """At the begin of a step, and then every LINE_EVERY_S."""
        now = time.monotonic()
        if what == self._what and now - self._said_at < LINE_EVERY_S:
            return
        self._said_at = now
        typer.echo(f"{what}{share(done, total)}", err=True)

    def __enter__(self) -> "Bar":
        if self._rich is not None:
            self._rich.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._rich is not None:
            self._rich.stop()


def share(done: int | None, total: int | None) -> str:
    """As in ": 12 % of 4.2 GB"; nothing where it is not known."""
    if done is None or not total:
        return ""
    of = f" of {size_words(total)}" if total >= _LEAST_BYTES else ""
    return f": {done / total:.0%}{of}"


def size_words(count: float) -> str:
    """1500 -> "1.5 kB"; decimal units, as disks are sold and the hub counts."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


def _rich_progress() -> Progress:
    """80 columns hold all but the description's end."""
    words = TextColumn(
        "{task.description}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")
    )
    return Progress(
        words,
        BarColumn(bar_width=16),
        TaskProgressColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(compact=True),
        console=Console(stderr=True),
        transient=True,
        expand=True,
    )
