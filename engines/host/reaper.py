"""Runs as a process of its own: kills the pids it read on stdin once stdin closes, and whatever
carries its mark in the environment: a process that was born as the front died.

Only the standard library and psutil: it starts in 60 ms and holds 15 MB.
"""

import contextlib
import signal
import sys
import time
from collections.abc import Iterator

import psutil

MARK = "FJORD_ENGINE"
"""The environment variable that the processes of one engine inherit while it starts."""
_LOOK_FOR_S = 5.0


def main() -> None:
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    known = [(int(pid), float(created)) for pid, created in map(str.split, sys.stdin)]
    for pid, created in known:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            if abs(process.create_time() - created) < 0.05:
                kill(process)
    mark, deadline = sys.argv[1], time.monotonic() + _LOOK_FOR_S
    while time.monotonic() < deadline:
        for process in marked(mark):
            kill(process)
        time.sleep(0.1)


def kill(process: psutil.Process) -> None:
    """The process and its descendants; gone already is as good."""
    with contextlib.suppress(psutil.Error):
        for one in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()


def marked(mark: str) -> Iterator[psutil.Process]:
    """Processes that inherited the mark."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == mark:
                yield process


if __name__ == "__main__":
    main()
