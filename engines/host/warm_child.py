"""One of our modules as a child process that is kept and answers questions, one after another: work
that takes too long or too much memory is ended with it. Both ends of the pipe are in this file."""

import json
import math
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import psutil

from engines.host.child_job import REPOSITORY
from engines.host.confined import bound_memory
from engines.host.woken import woken_with_parents_end

_PARENT = "FJORD_PARENT_PID"
_POLL_S = 0.05
_START_S = 120.0
_AGAIN_S = 10.0
"""After a start that failed none is tried for so long: who asks need not wait for each."""
_WALL_FACTOR = 6
"""A busy machine is not a slow question: it has so many times its CPU time by the clock."""
NICE = 10
"""What a child is to make of itself: it gives way to whoever generates."""


NOT_NOW = "Forms cannot be checked now; right would be the same request a little later."
"""To whoever brought one while a child that checks them does not start."""


class TookTooLong(Exception):
    """The question had its CPU time; the child is gone, the next question starts another."""


class ChildEnded(Exception):
    """The child ended while it answered: of too much memory, or because it was closed."""


class ChildNotStarted(Exception):
    """It cannot answer anything."""


class WarmChild:
    """`python -m module args…`, started by `begin` or a question."""

    def __init__(
        self,
        module: str,
        args: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        most_life_cpu_s: float = math.inf,
    ) -> None:
        """`environment`: what it gets of one; None: the server's. After `most_life_cpu_s` of CPU
        time another takes its place."""
        self._environment, self._most_life_cpu_s = environment, most_life_cpu_s
        self._command = [sys.executable, "-m", module, *args]
        self._child: subprocess.Popen[bytes] | None = None
        self._turn = threading.Lock()
        self._is_closed = False
        self._may_start_at = 0.0

    def begin(self) -> None:
        """Blocks until it can answer. Raises ChildNotStarted."""
        with self._turn:
            self._started()

    def ask(self, question: Any, most_cpu_s: float) -> Any:
        """JSON in (its bytes, or what becomes it), JSON out; blocks, also while others ask. Raises
        TookTooLong, ChildEnded, ChildNotStarted."""
        with self._turn:
            child = self._started()
            before = _cpu_s(child.pid)
            with suppress(BrokenPipeError):
                _write(child, question)
            began = time.monotonic()

            def is_over() -> bool:
                is_late = time.monotonic() - began > most_cpu_s * _WALL_FACTOR
                return is_late or _cpu_s(child.pid) - before > most_cpu_s

            return self._read(child, is_over)

    def rest(self) -> None:
        """Ends it if nobody asks it; the next question starts another. Blocks while it ends."""
        if self._turn.acquire(blocking=False):
            try:
                self._end()
            finally:
                self._turn.release()

    def close(self) -> None:
        """Ends it, whatever it does; who asks has ChildEnded. Idempotent."""
        self._is_closed = True
        child = self._child
        if child is not None:
            child.kill()
        with self._turn:
            self._end()

    def _started(self) -> "subprocess.Popen[bytes]":
        if self._child is not None and self._child.poll() is None and not self._is_old():
            return self._child
        self._end()
        if self._is_closed:
            raise ChildNotStarted("It was closed.")
        if time.monotonic() < self._may_start_at:
            raise ChildNotStarted("It was not ready a moment ago.")
        self._child = child = _popen(self._command, self._environment)
        if self._is_closed:
            child.kill()
        began = time.monotonic()
        try:
            self._read(child, lambda: time.monotonic() - began > _START_S)
        except (TookTooLong, ChildEnded) as error:
            self._may_start_at = time.monotonic() + _AGAIN_S
            raise ChildNotStarted("It ended, or was not ready in time.") from error
        return child

    def _is_old(self) -> bool:
        child = self._child
        return child is not None and _cpu_s(child.pid) >= self._most_life_cpu_s

    def _read(self, child: "subprocess.Popen[bytes]", is_over: Callable[[], bool]) -> Any:
        assert child.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(child.stdout, selectors.EVENT_READ)
            while not selector.select(_POLL_S):
                if is_over():
                    self._end()
                    raise TookTooLong
        line = child.stdout.readline()
        if not line.endswith(b"\n"):
            self._end()
            raise ChildEnded
        return json.loads(line)

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()


def end_with_parent() -> None:
    """The child's first step: it ends when its parent does, also in the middle of its start or an
    answer, and frozen."""
    parent = int(os.environ[_PARENT])
    woken_with_parents_end()
    threading.Thread(target=_die_with_parent, args=(parent,), daemon=True).start()


def answer_questions(answer: Callable[[Any], Any], most_bytes: int | None = None) -> None:
    """The child's end: it is ready. `most_bytes`: the memory it may take beyond what it has now;
    None: that is bounded already."""
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # libraries print where they like
    if most_bytes is not None:
        bound_memory(most_bytes)
    _say(pipe, "ready")
    for line in sys.stdin.buffer:
        _say(pipe, answer(json.loads(line)))


def _die_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _say(pipe: Any, what: Any) -> None:
    pipe.write(json.dumps(what).encode() + b"\n")
    pipe.flush()


def _write(child: "subprocess.Popen[bytes]", question: Any) -> None:
    assert child.stdin is not None
    line = question if isinstance(question, bytes) else json.dumps(question).encode()
    child.stdin.write(line + b"\n")
    child.stdin.flush()


def _popen(
    command: Sequence[str], environment: Mapping[str, str] | None
) -> "subprocess.Popen[bytes]":
    paths = [REPOSITORY, *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={
            **(os.environ if environment is None else environment),
            "PYTHONPATH": os.pathsep.join(paths),
            "OMP_NUM_THREADS": "1",
            _PARENT: str(os.getpid()),
        },
    )


def _cpu_s(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)
