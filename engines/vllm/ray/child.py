"""The front's end of a driver: its process, what it told, and that it lives."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe
from typing import Any

from engines.base import EngineDead, EngineUnavailable
from engines.host.child_job import REPOSITORY
from engines.vllm.ray.wire import Failed, Joined, Loaded, RayAsk, RayNodes, Told

SILENT_S = 7.0
"""A driver that tells nothing for so long is frozen, or its cluster is. It tells twice a second."""
JOIN_S = 25.0
END_S = 3.5
"""A driver ends at once, but for one that takes its leave of Ray's client port."""
_MODULE = "engines.vllm.ray.driver"


class Driver:
    """Thread-safe. Its process ends with `end`, and with this process."""

    def __init__(self, ask: RayAsk, on_told: Callable[[Told], None] = lambda told: None) -> None:
        """`on_told` is called in a thread of its own."""
        own, other = Pipe()
        self._pipe: Connection[Any, Any] = own
        self._child = _popen(other)
        other.close()
        self._on_told = on_told
        self._heard = time.monotonic()
        self._changed = threading.Condition()
        self._failure: str | None = None
        self._told: dict[type[Any], Any] = {}
        threading.Thread(target=self._hear, name="ray-driver", daemon=True).start()
        with contextlib.suppress(OSError):
            own.send(ask)

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def failure(self) -> str | None:
        """Why it is over; None: it is not."""
        return self._failure

    def joined(self) -> Joined:
        """Raises EngineUnavailable."""
        joined: Joined = self._first(
            Joined, JOIN_S, f"Ray's cluster did not answer within {JOIN_S:g} s"
        )
        return joined

    def loaded(self, limit_s: float) -> Loaded:
        """Raises EngineUnavailable."""
        loaded: Loaded = self._first(Loaded, limit_s, f"its start took longer than {limit_s:g} s")
        return loaded

    def nodes(self, limit_s: float) -> RayNodes:
        """Raises EngineUnavailable."""
        nodes: RayNodes = self._first(
            RayNodes, limit_s, f"Ray told of no node within {limit_s:g} s"
        )
        return nodes

    @property
    def is_well(self) -> bool:
        """Whether it runs and was heard a moment ago."""
        return self._failure is None and time.monotonic() - self._heard <= SILENT_S

    def check(self) -> None:
        """Raises EngineDead where it is over, or silent."""
        if self._failure is not None:
            raise EngineDead(self._failure)
        if (silent_s := time.monotonic() - self._heard) > SILENT_S:
            raise EngineDead(f"its Ray driver has told nothing for {silent_s:.0f} s")

    def end(self) -> None:
        """Its job ends with it: actors, placement groups. Idempotent."""
        self._over("it was ended")
        with contextlib.suppress(OSError, ValueError):
            self._pipe.send(None)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(END_S)
        self._child.kill()
        self._child.wait()

    def _first(self, kind: type[Any], limit_s: float, otherwise: str) -> Any:
        with self._changed:
            self._changed.wait_for(lambda: kind in self._told or self._failure, limit_s)
            if self._failure is not None:
                raise EngineUnavailable(self._failure)
            if kind not in self._told:
                raise EngineUnavailable(otherwise)
            return self._told[kind]

    def _hear(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                self._take(self._pipe.recv())
        self._over(f"its Ray driver ended ({_status(self._child)}): is the cluster's head gone?")
        self._pipe.close()

    def _take(self, told: Told) -> None:
        self._heard = time.monotonic()
        if isinstance(told, Failed):
            self._over(told.reason)
        with self._changed:
            self._told[type(told)] = told
            self._changed.notify_all()
        self._on_told(told)

    def _over(self, reason: str) -> None:
        with self._changed:
            self._failure = self._failure or reason
            self._changed.notify_all()


def _status(child: "subprocess.Popen[bytes]") -> str:
    try:
        return f"status {child.wait(1.0)}"
    except subprocess.TimeoutExpired:
        return "its pipe closed"


def _popen(pipe: "Connection[Any, Any]") -> "subprocess.Popen[bytes]":
    paths = [REPOSITORY, *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        [sys.executable, "-P", "-m", _MODULE, str(pipe.fileno())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=[pipe.fileno()],
        process_group=0,  # a terminal's Ctrl-C is the server's, which drains
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
