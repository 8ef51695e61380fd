"""Processes that give way to others for a while: an engine that starts beside one that streams."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

LOWER_BY = 10
"""Of a process' nice value: beside a busy one it then has a tenth of a core."""
MOST_S = 60.0
"""So that a start ends on a machine that is always busy."""
_LOOK_EVERY_S = 0.02
_PASSES = 5
"""A thread that begins while the others are raised has what its maker had."""


@contextlib.contextmanager
def giving_way(pids: Callable[[], Iterable[int]], most_s: float = MOST_S) -> Iterator[None]:
    """Those processes, also ones that appear inside the block, until its end or for `most_s`.
    Where this user may not raise them again, nothing is lowered."""
    if not can_be_raised():
        yield
        return
    base, done = os.getpriority(os.PRIO_PROCESS, 0), threading.Event()
    lowered: set[int] = set()
    thread = threading.Thread(
        target=_lower, args=(pids, lowered, base + LOWER_BY, done, most_s), daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        _raise(lowered, base)


def can_be_raised() -> bool:
    """Tried by a thread that ends: by root, with CAP_SYS_NICE, or with RLIMIT_NICE at 20."""
    found: list[bool] = []

    def try_it() -> None:
        me = threading.get_native_id()
        with contextlib.suppress(OSError):
            base = os.getpriority(os.PRIO_PROCESS, me)
            os.setpriority(os.PRIO_PROCESS, me, base + 1)
            os.setpriority(os.PRIO_PROCESS, me, base)
            found.append(True)

    if not Path("/proc/self/task").is_dir():  # a thread has no value of its own
        return False
    thread = threading.Thread(target=try_it)
    thread.start()
    thread.join()
    return bool(found)


def _lower(
    pids: Callable[[], Iterable[int]],
    lowered: set[int],
    to: int,
    done: threading.Event,
    most_s: float,
) -> None:
    base = to - LOWER_BY
    for _ in range(int(most_s / _LOOK_EVERY_S)):
        for pid in set(pids()) - lowered:
            lowered.add(pid)
            _move(pid, base, to)
        if done.wait(_LOOK_EVERY_S):
            return
    _raise(lowered, base)


def _raise(pids: Iterable[int], to: int) -> None:
    for pid in pids:
        for _ in range(_PASSES):
            if not _move(pid, to + LOWER_BY, to):
                break


def _move(pid: int, before: int, to: int) -> int:
    """Of every thread that has `before`: one with a value of its own keeps it; how many."""
    changed = 0
    with contextlib.suppress(OSError):  # it ended
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(ProcessLookupError):
                if os.getpriority(os.PRIO_PROCESS, int(task)) == before:
                    os.setpriority(os.PRIO_PROCESS, int(task), to)
                    changed += 1
    return changed
