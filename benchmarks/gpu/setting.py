"""What every phase is given, how it fails, and how it keeps what it saw."""

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.machine import used_mib

GIB = 2**30


class Failed(Exception):
    """The phase ran, and what must hold does not."""


class Skipped(Exception):
    """The phase cannot run on this machine; with the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where a phase runs, and how long it may take."""

    rehearse: bool
    folder: Path
    limit_s: float
    rounds: int
    note: Callable[[Mapping[str, Any]], None]
    """Keeps what is known so far, should the phase be cut off."""

    def of(self, number: int) -> int:
        """So many on a card, an eighth of them in a rehearsal."""
        return max(2, number // 8) if self.rehearse else number

    def used_mib(self) -> int:
        """Of the first card; in a rehearsal of the machine, by this process and all below it."""
        return _tree_mib() if self.rehearse else used_mib()


class Steps:
    """Times each step, and reads the memory after it."""

    def __init__(self, setting: Setting) -> None:
        self.taken: list[dict[str, Any]] = []
        self._setting = setting

    async def take(self, step: str, doing: Any) -> Any:
        began = time.monotonic()
        result = await doing
        took_s = round(time.monotonic() - began, 3)
        self.taken.append({"step": step, "s": took_s, "used_mib": self._setting.used_mib()})
        print(self.taken[-1], flush=True)
        self._setting.note({"steps": self.taken})
        return result

    def used_mib(self, step: str) -> int:
        """After the last step of this name."""
        [*_, last] = [each for each in self.taken if each["step"] == step]
        return int(last["used_mib"])


def _tree_mib() -> int:
    root, sizes = psutil.Process(), []
    for process in (root, *root.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            sizes.append(process.memory_info().rss)
    return sum(sizes) // 2**20
