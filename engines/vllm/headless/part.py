"""A part's process on a node: started in a group of its own, watched, killed as a whole."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

import psutil

from engines.host.child_job import REPOSITORY
from engines.host.processes import wait_gone
from engines.joined.wire import PartState

COMMAND: Final = (sys.executable, "-m", "engines.vllm.headless")
WHY: Final = "fjord: "
"""Before the one line in which it says itself why it ends."""
POLL_S: Final = 0.1
LOOK_S: Final = 1.0
FROZEN_S: Final = 2.0
_LINES, _LINE, _LONGEST_LINE = 20, 400, 2**16
_GONE_S: Final = 10.0
_REAPED_S: Final = 2.0

log = logging.getLogger("fjord.node")


class Part:
    """Belongs to the event loop. `changed` is called with each change of its state."""

    def __init__(
        self, part: str, engine: str, cards: tuple[int, ...], changed: Callable[[], None]
    ) -> None:
        self.id, self.engine, self.cards = part, engine, cards
        self._changed = changed
        self.state = PartState(id=part, engine=engine, state="starting")
        self.ended_at: float | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._last: deque[str] = deque(maxlen=_LINES)
        self._stopped_since: float | None = None
        self._watching: asyncio.Task[None] | None = None
        self._reading: threading.Thread | None = None

    def start(self, told: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        """Raises OSError."""
        paths = [REPOSITORY, *filter(None, [environment.get("PYTHONPATH")])]
        self._process = process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a terminal's Ctrl-C is the node's to hear
            env={**environment, "PYTHONPATH": os.pathsep.join(paths)},
        )
        line = json.dumps(told).encode() + b"\n"
        self._reading = threading.Thread(target=self._talk, args=(process, line), daemon=True)
        self._reading.start()
        self._watching = asyncio.create_task(self._watch(process), name=f"part {self.id}")

    def is_ready(self) -> None:
        """The engine that it is a part of serves."""
        if self.state.state == "starting":
            self._become("running")

    async def end(self) -> None:
        """Kill it with all its children; returns once they are gone. One that has just ended by
        itself has said why all the same."""
        if self._watching is not None:
            self._watching.cancel()
        if (process := self._process) is None:
            return
        if process.poll() is not None and self.ended_at is None:
            await self._has_ended(process)
        await asyncio.to_thread(self._kill, process)

    def _kill(self, process: "subprocess.Popen[bytes]") -> None:
        tree = _tree(process.pid)
        _kill_group(process.pid)
        if not wait_gone(tree, _GONE_S):
            log.error("killed processes of %s are still there", self.engine)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_REAPED_S)  # its threads may end after it
        assert process.stdin is not None
        with contextlib.suppress(OSError):
            process.stdin.close()

    def _talk(self, process: "subprocess.Popen[bytes]", line: bytes) -> None:
        """Tell it what to do, as soon as it takes that; read until the last of its children has
        closed its end."""
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(OSError, ValueError):  # it has ended: its last words say why
            process.stdin.write(line)
            process.stdin.flush()
        with process.stdout as output:
            while line := output.readline(_LONGEST_LINE):
                if text := line.decode(errors="replace").strip():
                    self._last.append(text[:_LINE])

    async def _watch(self, process: "subprocess.Popen[bytes]") -> None:
        looked_at = 0.0
        while process.poll() is None:
            await asyncio.sleep(POLL_S)
            if (now := time.monotonic()) - looked_at >= LOOK_S:
                looked_at = now
                self._look(process.pid, now)
        await self._has_ended(process)

    async def _has_ended(self, process: "subprocess.Popen[bytes]") -> None:
        _kill_group(process.pid)  # workers outlive it where it was killed
        if self._reading is not None:
            await asyncio.to_thread(self._reading.join, 1.0)
        self.ended_at = time.monotonic()
        self._become("ended", self._why(process.returncode))

    def _look(self, process: int, now: float) -> None:
        if not _is_stopped(process):
            self._stopped_since = None
        elif self._stopped_since is None:
            self._stopped_since = now
        elif now - self._stopped_since >= FROZEN_S and self.state.state != "frozen":
            self._become("frozen", "a process of its part stands still (SIGSTOP)")

    def _why(self, status: int | None) -> str:
        own = [line for line in self._last if line.startswith(WHY)]
        if own:
            return own[-1].removeprefix(WHY)
        how = f"with status {status}"
        if status is not None and status < 0:
            with contextlib.suppress(ValueError):
                how = f"by {signal.Signals(-status).name}"
        last = f": {self._last[-1]}" if self._last else ""
        return f"its part ended {how}{last}"

    def _become(self, state: Any, words: str = "") -> None:
        self.state = PartState(id=self.id, engine=self.engine, state=state, words=words[:2000])
        self._changed()


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _tree(leader: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(leader)
        return [process, *process.children(recursive=True)]
    return []


def _is_stopped(leader: int) -> bool:
    """Whether it, or one of its children, was stopped by a signal."""
    return any(_status(each) == psutil.STATUS_STOPPED for each in _tree(leader))


def _status(process: psutil.Process) -> str:
    try:
        return str(process.status())
    except psutil.Error:
        return ""
