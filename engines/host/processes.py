"""Owns the processes an engine starts: finds them, ends them, and outlives the front to do so."""

import contextlib
import logging
import multiprocessing
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

from engines.host.reaper import MARK

ADOPT_EVERY_S = 0.02
DESCENDANTS_EVERY_S = 0.5
"""Looking for children's children reads all of /proc: 50 times a second it would slow down the
streams of other models."""
GONE_S = 60.0
"""A killed process of eight cards takes a while to leave the driver."""

log = logging.getLogger("fjord.engines")


class ProcessTree:
    """One engine's processes. After `end`, whatever still appears is killed at once.

    A reaper process, in a session of its own, waits at the other end of a pipe: when the front
    dies, even by SIGKILL, the pipe closes and the reaper kills what the front had adopted.
    """

    def __init__(self) -> None:
        self._before: set[int] = set()
        self._adopted: dict[int, psutil.Process] = {}
        self._lock = threading.Lock()
        self._ended = False
        self._reaper: subprocess.Popen[bytes] | None = None

    @property
    def ended(self) -> bool:
        return self._ended

    @property
    def pids(self) -> list[int]:
        """Every process of the engine that is alive now."""
        processes = _with_descendants(self._adopted.values())
        return [process.pid for process in processes if _is_alive(process)]

    @property
    def has_company(self) -> bool:
        """Whether others' were there when it began to adopt."""
        return bool(self._before)

    def adopted(self) -> list[int]:
        """Every process so far, alive or not; costs nothing."""
        with self._lock:
            return list(self._adopted)

    @contextlib.contextmanager
    def adopting(self) -> Iterator[None]:
        """Adopt every multiprocessing child that appears inside the block. One block at a time."""
        self._before = _children()
        mark = secrets.token_hex(8)
        self._reaper = _start_reaper(mark)
        os.environ[MARK] = mark  # after the reaper: it must not find itself
        done = threading.Event()
        thread = threading.Thread(target=self._adopt_until, args=(done,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            os.environ.pop(MARK, None)
            done.set()
            thread.join()
            self._adopt()

    def adopt(self, pid: int) -> None:
        """A process that ends by itself when the front does."""
        process = _process(pid)
        with self._lock:
            if process is not None:
                self._adopted[pid] = process
            if self._ended:
                _kill(self._adopted.values())

    def _adopt_until(self, done: threading.Event) -> None:
        known, looked_at = self._before, 0.0
        while not done.wait(ADOPT_EVERY_S):
            children, now = _children(), time.monotonic()
            if children != known or now - looked_at >= DESCENDANTS_EVERY_S:
                known, looked_at = children, now
                self._adopt()

    def _adopt(self) -> None:
        roots = [
            process for pid in _children() - self._before if (process := _process(pid)) is not None
        ]
        with self._lock:
            for process in _with_descendants(roots):
                if process.pid not in self._adopted:
                    self._adopted[process.pid] = process
                    self._tell(process)
            if self._ended:
                _kill(self._adopted.values())

    def _tell(self, process: psutil.Process) -> None:
        with contextlib.suppress(OSError, ValueError, psutil.Error):
            assert self._reaper is not None
            assert self._reaper.stdin is not None
            self._reaper.stdin.write(f"{process.pid} {process.create_time()}\n".encode())
            self._reaper.stdin.flush()

    def end(self) -> None:
        """Kill everything and wait until it is gone. Idempotent; blocks up to GONE_S."""
        with self._lock:
            self._ended = True
            processes = _with_descendants(self._adopted.values())
            _kill(processes)
        if not wait_gone(processes, GONE_S):
            log.error("killed processes are still there: %s", self.pids)
        if self._reaper is not None:
            self._reaper.kill()
            self._reaper.communicate()

    def wait(self, timeout_s: float) -> bool:
        """Wait for every process to end by itself; whether they did."""
        return wait_gone(_with_descendants(self._adopted.values()), timeout_s)


def _start_reaper(mark: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", str(Path(__file__).with_name("reaper.py")), mark],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # the terminal's Ctrl-C must not end it before the front
    )


def _children() -> set[int]:
    return {child.pid for child in multiprocessing.active_children() if child.pid is not None}


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None


def _with_descendants(roots: Iterable[psutil.Process]) -> list[psutil.Process]:
    by_pid: dict[int, psutil.Process] = {}
    for root in list(roots):
        with contextlib.suppress(psutil.NoSuchProcess):
            if root.is_running():
                by_pid[root.pid] = root
                by_pid.update((child.pid, child) for child in root.children(recursive=True))
    return list(by_pid.values())


def wait_gone(processes: list[psutil.Process], timeout_s: float) -> bool:
    """Whether they ended in time; blocks. A zombie has: an orphaned grandchild stays one until init
    looks after it, which took a second and more where pid 1 is slow."""
    deadline, left = time.monotonic() + timeout_s, processes
    while left and time.monotonic() < deadline:
        left = [p for p in psutil.wait_procs(left, timeout=0.05)[1] if _is_alive(p)]
    return not left


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _kill(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
