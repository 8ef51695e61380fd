"""In a JSON log every line is JSON: what libraries, and the engines' processes, write to stderr by
themselves passes through a small process that wraps it. A process, not a thread: a library that
aborts says why just before it takes this one down."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import BinaryIO, TextIO

LONGEST_BYTES = 65_536
END_S = 1.0
STDERR = 2


@contextlib.contextmanager
def raw_lines_wrapped() -> Iterator[TextIO]:
    """File descriptor 2 leads into the wrapper for the block's time; yields the way past it, for
    lines that are JSON already."""
    way_past = os.fdopen(os.dup(STDERR), "w", encoding="utf-8", errors="replace")
    command = [sys.executable, "-I", "-S", __file__]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=way_past, start_new_session=True
    ) as wrapper:
        assert wrapper.stdin is not None
        os.dup2(wrapper.stdin.fileno(), STDERR)
        wrapper.stdin.close()
        try:
            yield way_past
        finally:
            sys.stderr.flush()
            os.dup2(way_past.fileno(), STDERR)
            _end(wrapper)
            way_past.flush()


def _end(wrapper: "subprocess.Popen[bytes]") -> None:
    """It ends when nobody can write any more; an engine that was left behind still could."""
    try:
        wrapper.wait(END_S)
    except subprocess.TimeoutExpired:
        wrapper.kill()


def wrap(source: BinaryIO, sink: TextIO) -> None:
    """Until nobody can write any more."""
    while line := source.readline(LONGEST_BYTES):
        if text := line.decode(errors="replace").rstrip():
            sink.write(wrapped(text) + "\n")
            sink.flush()


def wrapped(text: str) -> str:
    now = time.time()
    clock = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
    moment = f"{clock}.{int(now % 1 * 1000):03d}Z"
    return json.dumps({"time": moment, "level": "warning", "logger": "stderr", "message": text})


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(BrokenPipeError):
        wrap(sys.stdin.buffer, sys.stdout)
