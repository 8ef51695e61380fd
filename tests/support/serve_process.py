"""A `fjord serve` in a process of its own: what it says, and how it ends."""

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from queue import Queue
from typing import Any

import httpx

from tests.support.paths import ROOT

ENDLESS = {"max_tokens": 1000, "ignore_eos": True}
FJORD = [sys.executable, "-P", "-m", "server"]
REGISTRY = """\
models:
  tiny:
    source: echo
    engine: scripted
    args: {args}
    context: 4K
    output: 1K
    preload: true
profiles:
  embedded: {{}}
"""


@contextlib.contextmanager
def serving_registry(home: Path, text: str) -> "Iterator[Server]":
    """A ready server of a registry of its own."""
    (home / "model_registry.yaml").write_text(text)
    with serving(home) as server:
        server.until("Ready")
        yield server


def ask(url: str, key: str | None = None, **body: Any) -> httpx.Response:
    return httpx.post(
        f"{url}/v1/chat/completions",
        json={"model": "tiny", "messages": [{"role": "user", "content": "hei du"}], **body},
        headers={"X-API-Key": key} if key else {},
        timeout=30,
    )


def environment(**variables: str) -> dict[str, str]:
    """Not the tester's own FJORD_ variables."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith("FJORD_")}
    return {**ours, "PYTHONPATH": str(ROOT), **variables}


def fjord(
    cwd: Path, *args: str, stdin: str | None = None, **variables: str
) -> "subprocess.CompletedProcess[str]":
    """`fjord …` in a process of its own, 80 columns wide."""
    return subprocess.run(
        [*FJORD, *args],
        cwd=cwd,
        env=environment(**{"COLUMNS": "80", **variables}),
        capture_output=True,
        text=True,
        timeout=60,
        **({"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}),
    )


class Server:
    """A `fjord serve` on a free port, and what it says: into a pipe, or at a terminal."""

    def __init__(
        self,
        cwd: Path,
        *args: str,
        command: Sequence[str] = FJORD,
        at_terminal: bool = False,
        has_port: bool = True,
        **variables: str,
    ) -> None:
        self.home = cwd
        self.lines: Queue[str] = Queue()
        self.said: list[str] = []
        self.began = time.monotonic()
        ours, theirs = pty.openpty() if at_terminal else os.pipe()
        self.process = subprocess.Popen(
            [*command, "serve", *(("--port", "0") if has_port else ()), *args],
            cwd=cwd,
            env=environment(**{"FJORD_PROFILE": "embedded", **variables}),
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        self.output = os.fdopen(ours, encoding="utf-8", errors="replace")
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # a terminal that everybody has left
            for line in self.output:
                self.lines.put(line)
        self.lines.put("")

    def until(self, pattern: str, within_s: float = 60.0) -> re.Match[str]:
        """The first line that matches; fails when the process ends or is silent so long."""
        while line := self.lines.get(timeout=within_s):
            self.said.append(line)
            if match := re.search(pattern, line):
                return match
        raise AssertionError(f"never said {pattern!r}, but:\n{''.join(self.said)}")

    def url(self) -> str:
        return self.until(r"Fjord at (https?://\S+),")[1]

    def key(self) -> str:
        """The first key, as a program finds it."""
        return (self.home / "data/first_key").read_text().strip()

    @property
    def port(self) -> str:
        """Of a server that has said its address."""
        match = re.search(r"Fjord at https?://\S+:(\d+),", "".join(self.said))
        assert match is not None
        return match[1]

    def ends(self, *signals: signal.Signals, within_s: float = 30.0) -> int:
        for number in signals:
            self.process.send_signal(number)
        return self.process.wait(within_s)


@contextlib.contextmanager
def serving(
    cwd: Path,
    *args: str,
    command: Sequence[str] = FJORD,
    at_terminal: bool = False,
    has_port: bool = True,
    **variables: str,
) -> Iterator[Server]:
    server = Server(
        cwd, *args, command=command, at_terminal=at_terminal, has_port=has_port, **variables
    )
    try:
        yield server
    finally:
        server.process.kill()
        server.process.wait()
        server.reader.join()
        server.output.close()


def with_registry(home: Path, **args: Any) -> Path:
    (home / "model_registry.yaml").write_text(REGISTRY.format(args=json.dumps(args)))
    return home


@contextlib.contextmanager
def streaming(url: str, **more: Any) -> Iterator[Iterator[str]]:
    """The lines of a stream's events."""
    body = {
        "model": "tiny",
        "stream": True,
        "messages": [{"role": "user", "content": "on and on"}],
        **more,
    }
    path = f"{url}/v1/chat/completions"
    with httpx.stream("POST", path, json=body, timeout=30) as answer:
        assert answer.status_code == 200, answer.read()
        yield (line for line in answer.iter_lines() if line.startswith("data:"))
