"""Engine processes that die and stop, as a machine and its kernel do it."""

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import psutil

from benchmarks.front import is_engine

EVERY_S = (15.0, 40.0)
_LOOKS_S = 0.1
"""There may be none to kill."""
KILLED = 0.7
"""The others are stopped for ever: the server has to notice."""


class Faults:
    """Of the engines of one server."""

    def __init__(self, pid: int, drawn: random.Random) -> None:
        self._pid, self._drawn = pid, drawn
        self.done: Counter[str] = Counter()

    async def run(self, goes_on: Callable[[], bool]) -> None:
        next_at = self._next_at()
        while goes_on():
            await asyncio.sleep(_LOOKS_S)
            if time.monotonic() >= next_at and self.did_one():
                next_at = self._next_at()

    def _next_at(self) -> float:
        return time.monotonic() + self._drawn.uniform(*EVERY_S)

    def did_one(self) -> bool:
        """To a random one; False where there is none."""
        engines = [process for process in children(self._pid) if is_alive_engine(process)]
        if not engines:
            return False
        chosen = self._drawn.choice(engines)
        sent = signal.SIGKILL if self._drawn.random() < KILLED else signal.SIGSTOP
        chosen.send_signal(sent)
        self.done[sent.name] += 1
        return True


def children(pid: int) -> list[psutil.Process]:
    """Of the server's process, and theirs."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def tree_mib(pid: int) -> float:
    """Resident memory of a process and all that it has started. Raises psutil.NoSuchProcess."""
    total = psutil.Process(pid).memory_info().rss
    for child in children(pid):
        with suppress(psutil.NoSuchProcess):
            total += child.memory_info().rss
    return round(total / 2**20, 1)


def is_alive_engine(process: psutil.Process) -> bool:
    try:
        return is_engine(process) and process.status() not in ("zombie", "stopped")
    except psutil.NoSuchProcess:
        return False
