"""A part's process on a node: started in a group of its own, watched, killed as a whole."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

import psutil

from engines.host.child_job import REPOSITORY
from engines.host.processes import wait_gone
from engines.joined.wire import PartState

WHY: Final = "fjord: "
"""Before the one line in which it says itself why it ends."""
LOOK_S: Final = 1.0
_FROZEN_LOOKS: Final = 3
_LINES, _LINE = 20, 400
_GONE_S: Final = 10.0

log = logging.getLogger("fjord.node")


class Part:
    """Belongs to the event loop. `changed` is called with each change of its state."""

    def __init__(self, part: str, engine: str, cards: tuple[int, ...], changed: Any) -> None:
        self.id, self.engine, self.cards = part, engine, cards
        self._changed: Callable[[], None] = changed
        self.state = PartState(id=part, engine=engine, state="starting")
        self.ended_at: float | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._last: deque[str] = deque(maxlen=_LINES)
        self._frozen_looks = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._is_killed = False

    async def start(self, told: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        """Raises OSError."""
        paths = [REPOSITORY, *filter(None, [environment.get("PYTHONPATH")])]
        self._process = process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "engines.vllm.headless",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # a terminal's Ctrl-C is the node's to hear
            env={**environment, "PYTHONPATH": os.pathsep.join(paths)},
            limit=2**20,
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(told).encode() + b"\n")
        self._tasks = [
            asyncio.create_task(each, name=f"part {self.id}")
            for each in (self._read(process), self._watch(process))
        ]

    def is_ready(self) -> None:
        """The engine that it is a part of serves."""
        if self.state.state == "starting":
            self._become("running")

    async def end(self) -> None:
        """Kill it with all its children; returns once they are gone."""
        self._is_killed = True
        if self._process is None:
            return
        tree = _tree(self._process.pid)
        _kill_group(self._process.pid)
        if not await asyncio.to_thread(wait_gone, tree, _GONE_S):
            log.error("killed processes of %s are still there", self.engine)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:  # longer than the limit
                continue
            if not line:
                return
            if text := line.decode(errors="replace").strip():
                self._last.append(text[:_LINE])

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        ending = asyncio.ensure_future(process.wait())
        while not (await asyncio.wait([ending], timeout=LOOK_S))[0]:
            self._look(process.pid)
        _kill_group(process.pid)  # workers outlive it where it was killed
        await asyncio.wait(self._tasks[:1], timeout=LOOK_S)
        if not self._is_killed:
            self.ended_at = time.monotonic()
            self._become("ended", self._why(process.returncode))

    def _look(self, process: int) -> None:
        if not _is_stopped(process):
            self._frozen_looks = 0
            return
        self._frozen_looks += 1
        if self._frozen_looks == _FROZEN_LOOKS and self.state.state != "ended":
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
