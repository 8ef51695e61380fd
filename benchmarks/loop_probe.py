"""`python -m benchmarks.loop_probe FILE serve …`: `fjord serve …` whose event loop is watched.

A tick every 5 ms; one that comes over 10 ms late is a line in FILE: when (time.monotonic), how
late, and of that the loop's own CPU time and the time it was ready and the machine's cores were
taken (all in ms). What is left, it waited: for the interpreter's lock, while a thread held it.
"""

import asyncio
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import uvloop

TICK_S = 0.005
LATE_S = 0.010
_SCHEDSTAT = Path("/proc/self/schedstat")


class Probe:
    """On one loop, from the moment that it is made."""

    def __init__(self, loop: asyncio.AbstractEventLoop, out: TextIO) -> None:
        self._loop = loop
        self._out = out
        self._at, self._cpu_s, self._queued_s = _now()
        loop.call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        at, cpu_s, queued_s = _now()
        late_s = at - self._at - TICK_S
        if late_s > LATE_S:
            parts = (late_s, cpu_s - self._cpu_s, queued_s - self._queued_s)
            self._out.write(f"{at:.6f} " + " ".join(f"{1e3 * part:.2f}" for part in parts) + "\n")
        self._at, self._cpu_s, self._queued_s = at, cpu_s, queued_s
        self._loop.call_later(TICK_S, self._tick)


def _now() -> tuple[float, float, float]:
    """The clock; this thread's CPU seconds, and those that it was ready without a core."""
    return time.monotonic(), time.thread_time(), _queued_s()


def _queued_s() -> float:
    try:
        return int(_SCHEDSTAT.read_bytes().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


def main() -> None:
    """Ends as `fjord` does."""
    out = Path(sys.argv[1]).open("a", buffering=1)  # noqa: SIM115 - to the process' end
    make_loop: Any = uvloop.new_event_loop

    def watched() -> asyncio.AbstractEventLoop:
        loop: asyncio.AbstractEventLoop = make_loop()
        Probe(loop, out)
        return loop

    uvloop.__dict__["new_event_loop"] = watched
    sys.argv = ["fjord", *sys.argv[2:]]
    from server.cli.main import main as fjord

    fjord()


if __name__ == "__main__":
    main()
