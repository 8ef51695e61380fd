"""Run one of our modules as a child process and relay its progress: big libraries stay out of the
server, and the work can be ended at any moment. Both ends of the pipe are in this file."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, TypeAlias

from engines.host.woken import woken_with_parents_end

Progress: TypeAlias = Callable[[str, int | None, int | None], None]
"""(what is being done, bytes or steps done, of how many); raising in it ends the work.
It comes at least every REPEAT_S, in the thread that waits."""

REPEAT_S = 0.5
REPOSITORY = str(Path(__file__).resolve().parents[2])
"""Where a child finds our modules."""


class ChildJobFailed(Exception):
    """The message says why, in the child's own words where it found any."""


def run_child_job(
    module: str, args: Sequence[str], progress: Progress, environment: Mapping[str, str]
) -> str:
    """`python -m module args…`; blocks; returns its result. Raises ChildJobFailed, or what
    `progress` raises. The child is gone when this returns; it ends itself should we die."""
    with tempfile.TemporaryFile() as output, _child(module, args, output, environment) as child:
        try:
            result = _follow(child, progress)
        except BaseException:
            child.kill()
            raise
        code = child.wait()
        if result is None:
            raise ChildJobFailed(f"{module} ended with status {code}: {_last_line(output)}")
        return result


def child_job(work: Callable[[Sequence[str], Progress], str]) -> None:
    """The child's end, for `if __name__ == "__main__":`. ChildJobFailed is for people."""
    # Libraries print where they like: what they say goes to stderr, the pipe is ours alone.
    woken_with_parents_end()
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    parent = _ParentPipe(pipe)
    threading.Thread(target=parent.repeat, daemon=True).start()
    try:
        parent.send({"result": work(sys.argv[1:], parent.progress)})
    except ChildJobFailed as e:
        parent.send({"failed": str(e)})


class _ParentPipe:
    """Writes to the parent, and repeats the last step so that the parent can end the work."""

    def __init__(self, pipe: IO[str]) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()
        self._step: tuple[str, int | None, int | None] | None = None

    def send(self, message: Mapping[str, Any]) -> None:
        with self._lock:
            self._pipe.write(json.dumps(message) + "\n")
            self._pipe.flush()

    def progress(self, what: str, done: int | None, total: int | None) -> None:
        self._step = (what, done, total)
        self.send({"progress": self._step})

    def repeat(self) -> None:
        while True:
            time.sleep(REPEAT_S)
            if self._step is not None:
                self.send({"progress": self._step})


def _die_with_parent() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)


def _child(
    module: str, args: Sequence[str], output: IO[bytes], environment: Mapping[str, str]
) -> subprocess.Popen[str]:
    paths = [REPOSITORY, *filter(None, [environment.get("PYTHONPATH")])]
    return subprocess.Popen(
        [sys.executable, "-m", module, *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=output,
        encoding="utf-8",
        env={**environment, "PYTHONPATH": os.pathsep.join(paths)},
    )


def _follow(child: subprocess.Popen[str], progress: Progress) -> str | None:
    assert child.stdout is not None
    for line in child.stdout:
        message = json.loads(line)
        if "progress" in message:
            progress(*message["progress"])
        elif "failed" in message:
            raise ChildJobFailed(message["failed"])
        else:
            return str(message["result"])
    return None


def _last_line(output: IO[bytes]) -> str:
    output.seek(0)
    lines = [line for line in output.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it said nothing"
