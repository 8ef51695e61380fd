"""Runs as a process of its own: kills the pids it read on stdin once stdin closes.

Only the standard library and psutil: it starts in 60 ms and holds 15 MB.
"""

import contextlib
import signal
import sys

import psutil


def main() -> None:
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    known = [(int(pid), float(created)) for pid, created in map(str.split, sys.stdin)]
    for pid, created in known:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            if abs(process.create_time() - created) < 0.05:
                for one in [process, *process.children(recursive=True)]:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        one.kill()


if __name__ == "__main__":
    main()
