"""An agent as a child: with a home and a workspace of its own, loopback alone, a bound in time."""

import contextlib
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.agents import BEFORE, Agent
from tests.support.paths import AGENTS

LIMIT_S = 60.0
_LOCAL = "127.0.0.1,localhost,::1"


@dataclass(frozen=True)
class Ended:
    """How an agent ended: its exit status, all it said, and the hosts outside it asked for."""

    status: int
    said: str
    asked_outside: frozenset[str]


@dataclass(frozen=True)
class Place:
    """Where an agent runs: its home, and beside it the project that it edits."""

    home: Path
    workspace: Path

    @classmethod
    def made(cls, folder: Path) -> "Place":
        place = cls(folder / "home", folder / "project")
        place.home.mkdir()
        place.workspace.mkdir()
        place.file.write_text(BEFORE)
        return place

    @property
    def file(self) -> Path:
        return self.workspace / "greeting.py"


def run(agent: Agent, place: Place, url: str, key: str) -> Ended:
    """One turn of `agent` against the server at `url`; fails when it is not over in LIMIT_S."""
    _write(place.home / agent.settings, agent.settings_for(url))
    name, text = agent.quiet_file
    if name:
        _write(place.workspace / name, text)
    asked = place.home / "asked_outside"
    asked.touch()
    with _nowhere(asked) as proxy:
        status, said = _bounded(agent, place, _environment(agent, place, key, proxy, asked))
    return Ended(status, said, frozenset(asked.read_text().splitlines()))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _environment(agent: Agent, place: Place, key: str, proxy: str, asked: Path) -> dict[str, str]:
    """Nothing of the tester's own but PATH. Proxies are asked for every host but this one."""
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), proxy)
    ways = {**proxies, "NO_PROXY": _LOCAL}
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(place.home),
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "NO_COLOR": "1",
        "CI": "1",
        agent.key_variable: key,
        "NODE_OPTIONS": f"--require={AGENTS / 'loopback.cjs'}",
        "ASKED_OUTSIDE": str(asked),
        **ways,
        **{name.lower(): value for name, value in ways.items()},
        **agent.quiet,
    }


def _bounded(agent: Agent, place: Place, environment: dict[str, str]) -> tuple[int, str]:
    """Its exit status and what it said. It leads a process group, and the group ends with it."""
    output = place.home / "output"
    with output.open("wb") as said:
        child = subprocess.Popen(
            [agent.program, *agent.command[1:]],
            cwd=place.workspace,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = child.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            text = output.read_text(errors="replace")
            raise AssertionError(
                f"{agent.name} not over in {LIMIT_S} s; it said:\n{text}"
            ) from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    return status, output.read_text(errors="replace")


@contextlib.contextmanager
def _nowhere(asked: Path) -> Iterator[str]:
    """A proxy that leads nowhere: it writes down which host it was asked for, and closes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_refuse, args=(server, asked))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(10)
    assert not thread.is_alive()


def _refuse(server: socket.socket, asked: Path) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection, contextlib.suppress(OSError), asked.open("a") as file:
            connection.settimeout(2)
            file.write(connection.recv(1024).split(b"\r\n")[0].decode(errors="replace") + "\n")
