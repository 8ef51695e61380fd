"""What the tests' fork server forks is as what multiprocessing would have spawned."""

import multiprocessing
import multiprocessing.util
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.fork_server import MARK, ForkedModule, ForkServer, ForkServers

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it asks /proc and prctl")
MODULES = ("json.tool", "tests.support.paths")
context = multiprocessing.get_context("spawn")
Start = Callable[..., Any]


def tell_facts(connection: Connection) -> None:
    """Runs in the child."""
    with connection:
        connection.send(
            {
                "parent": os.getppid(),
                "folder": os.getcwd(),
                "variable": os.environ.get("FJORD_SEEN"),
                "of libc": subprocess.check_output("echo $FJORD_SEEN", shell=True, text=True),
                "blocked": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
                "was imported": MODULES[0] in sys.modules,
                "group": os.getpgid(0),
                "mark that others see": psutil.Process().environ().get(MARK),
                "name that others see": named("one of ours"),
            }
        )


def named(name: str) -> str:
    setproctitle = pytest.importorskip("setproctitle")
    setproctitle.setproctitle(name)
    return psutil.Process().cmdline()[0]


def leave_with(status: int) -> None:
    sys.exit(status)


def wait_for_ever() -> None:
    signal.pause()


@pytest.fixture(params=["forked", "spawned"])
def start(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts a process of a function of this file."""
    before = set(psutil.Process().children())
    if request.param == "forked":
        __import__(MODULES[0])
        spawn = multiprocessing.util.spawnv_passfds
        servers = ForkServers(spawn, MODULES)
        monkeypatch.setattr(multiprocessing.util, "spawnv_passfds", servers)

    made: list[Any] = []

    def started(function: Callable[..., None], *arguments: Any) -> Any:
        process = context.Process(target=function, args=arguments)
        process.start()
        made.append(process)
        return process

    yield started
    for process in made:
        process.join(60)
    if request.param == "forked":
        servers.close()
    left = set(psutil.Process().children()) - before
    assert [p for p in left if "resource_tracker" not in " ".join(p.cmdline())] == []


def facts(start: Start) -> dict[str, Any]:
    ours, theirs = context.Pipe()
    process = start(tell_facts, theirs)
    theirs.close()
    with ours:
        told: dict[str, Any] = ours.recv()
        with pytest.raises(EOFError):
            ours.recv()
    process.join(60)
    return told | {"exit": process.exitcode}


def test_it_has_what_its_parent_has_as_it_starts(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FJORD_SEEN", "1")
    monkeypatch.setenv(MARK, "m" * 32)
    monkeypatch.setenv("SPT_NOENV", "1")  # else a process that names itself hides its environment
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGUSR2})
    try:
        found = facts(start)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert found == {
        "parent": os.getpid(),
        "folder": str(tmp_path),
        "variable": "1",
        "of libc": "1\n",
        "blocked": before | {signal.SIGUSR1, signal.SIGUSR2},
        "was imported": "forked" in request.node.name,
        "group": os.getpgid(0),
        "mark that others see": "m" * 32,
        "name that others see": "one of ours",
        "exit": 0,
    }


@pytest.mark.parametrize("status", [0, 7])
def test_how_it_ends_is_told(start: Start, status: int) -> None:
    process = start(leave_with, status)
    process.join(60)
    assert process.exitcode == status


def test_it_can_be_killed_and_two_run_at_once(start: Start) -> None:
    one, other = start(wait_for_ever), start(wait_for_ever)
    assert {one.pid, other.pid} <= {child.pid for child in psutil.Process().children()}
    one.kill()
    one.join(60)
    assert (one.exitcode, other.exitcode) == (-signal.SIGKILL, None)
    other.terminate()
    other.join(60)
    assert other.exitcode == -signal.SIGTERM


def test_a_module_reads_and_says_and_ends_as_a_popen_does() -> None:
    server = ForkServer(MODULES)
    command, variables = [sys.executable, "-m", "json.tool", "--compact"], dict(os.environ)
    heeding, killed = (ForkedModule(server, command, variables) for _ in range(2))
    assert (heeding.poll(), killed.poll()) == (None, None)
    killed.kill()
    assert (killed.wait(), killed.poll()) == (-signal.SIGKILL, -signal.SIGKILL)
    heeding.stdin.write(b'{"a": [1, 2]}')
    heeding.stdin.close()
    assert heeding.stdout.read() == b'{"a":[1,2]}\n'
    assert (heeding.wait(), heeding.poll()) == (0, 0)
    heeding.kill()
    for pipe in (heeding.stdout, killed.stdin, killed.stdout):
        pipe.close()
    server.close()


def test_an_environment_beyond_the_servers_is_spawned(monkeypatch: pytest.MonkeyPatch) -> None:
    spawned = []

    def spawn(path: Any, arguments: Any, files: Any) -> int:
        spawned.append(os.environ["FJORD_SEEN"])
        return 1

    __import__(MODULES[0])
    servers = ForkServers(spawn, MODULES, most=0)
    monkeypatch.setenv("FJORD_SEEN", "1")
    servers("python", ["python", "-c", "pass", "--multiprocessing-fork"], [])
    servers("python", ["python", "-c", "from multiprocessing.resource_tracker import main"], [])
    assert spawned == ["1", "1"]
