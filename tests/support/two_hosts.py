"""Two hosts on one machine: network namespaces, joined by a pair of veth.

    with two_hosts() as (one, two):
        server = two.popen([sys.executable, "-m", "http.server", "--bind", two.address])
        one.run(["curl", two.address])
        two.cut()

What runs in them is killed at the end. They share files, process ids and the machine's name: to be
told apart by their addresses alone, and nothing outside them is reached.
"""

import ctypes
import functools
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

PREFIX = "fjord-host"
INTERFACE = "eth0"
CLONE_NEWNET = 0x40000000
NAMESPACES = Path("/run/netns")
END_S = 10.0
_pairs = itertools.count(1)


class Host:
    """One of two: its namespace, its one address and `INTERFACE`, up as its loopback is."""

    def __init__(self, name: str, address: str) -> None:
        self.name, self.address = name, address
        self._children: list[subprocess.Popen[Any]] = []

    def argv(self, argv: Sequence[str | Path]) -> list[str]:
        """As this machine runs it there: `ip` becomes the command, so that a signal reaches it."""
        return ["ip", "netns", "exec", self.name, *map(str, argv)]

    def popen(self, argv: Sequence[str | Path], **options: Any) -> subprocess.Popen[Any]:
        child = subprocess.Popen(self.argv(argv), **options)
        self._children.append(child)
        return child

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        timeout: float = 60.0,
        check: bool = True,
        **options: Any,
    ) -> subprocess.CompletedProcess[str]:
        """To its end, its output read as text; `CalledProcessError` where it fails."""
        options = {"capture_output": True, "text": True} | options
        return subprocess.run(self.argv(argv), timeout=timeout, check=check, **options)

    def ip(self, *words: str) -> None:
        """`ip` for this namespace: another interface, address or route."""
        _ip("-n", self.name, *words)

    def cut(self) -> None:
        """The cable is out: what the other sends is lost, and no connection is told of it."""
        self.ip("link", "set", INTERFACE, "down")

    def mend(self) -> None:
        self.ip("link", "set", INTERFACE, "up")
        _until_up(self)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """This thread's new sockets, and what it starts, are on this host; others' are not."""
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(NAMESPACES / self.name, os.O_RDONLY)
        try:
            _enter(there)
            yield
        finally:
            _enter(own)
            os.close(own)
            os.close(there)

    def end(self) -> None:
        """Kill what runs here, whoever started it, and remove the namespace."""
        deadline = time.monotonic() + END_S
        while running := _processes(self.name):
            for process in running:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            if time.monotonic() > deadline:
                break
            time.sleep(0.01)
        self._reap()
        _ip("netns", "delete", self.name)

    def _reap(self) -> None:
        """A process that is on its way out is no longer in the namespace, and not yet dead."""
        for child in self._children:
            child.wait(END_S)
            for pipe in (child.stdin, child.stdout, child.stderr):
                if pipe is not None:
                    pipe.close()


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """10.x.y.1 and 10.x.y.2, and what dead processes left of theirs removed."""
    _remove_stale()
    stem = f"{PREFIX}-{os.getpid()}-{_began(os.getpid())}-{next(_pairs)}"
    subnet = f"10.{64 + os.getpid() // 256 % 128}.{os.getpid() % 256}"
    hosts = Host(f"{stem}-a", f"{subnet}.1"), Host(f"{stem}-b", f"{subnet}.2")
    made = []
    try:
        for host in hosts:
            _ip("netns", "add", host.name)
            made.append(host)
        _join(*hosts)
        yield hosts
    finally:
        for host in made:
            host.end()


def _join(one: Host, two: Host) -> None:
    ends = ["name", INTERFACE, "netns", one.name], ["name", INTERFACE, "netns", two.name]
    _ip("link", "add", *ends[0], "type", "veth", "peer", *ends[1])
    for host in (one, two):
        host.ip("address", "add", f"{host.address}/24", "dev", INTERFACE)
        host.ip("link", "set", "lo", "up")
        host.ip("link", "set", INTERFACE, "up")
    for host in (one, two):
        _until_up(host)


def _until_up(host: Host) -> None:
    """A link that is up may lack its carrier for a moment: the other end's."""
    deadline = time.monotonic() + END_S
    asked = ["ip", "-n", host.name, "-o", "link", "show", INTERFACE]
    while (
        "LOWER_UP"
        not in subprocess.run(asked, capture_output=True, text=True, timeout=END_S).stdout
    ):
        assert time.monotonic() < deadline, f"{INTERFACE} of {host.name} has no carrier"
        time.sleep(0.005)


@functools.cache
def why_not() -> str | None:
    """Why no two hosts can be made here; None: they can."""
    if sys.platform != "linux" or shutil.which("ip") is None:
        return "TWO HOSTS need Linux and its command `ip` (iproute2)"
    if os.geteuid() != 0:
        return "TWO HOSTS need root, for their network namespaces"
    try:
        with two_hosts() as (one, _):
            one.run(["true"])
            return None
    except subprocess.CalledProcessError as refusal:
        return f"TWO HOSTS cannot be made here: {refusal.stderr.strip()[-120:]}"


def skip_without_hosts() -> None:
    """The test that calls it, and says why, where no two hosts can be made."""
    if (reason := why_not()) is not None:
        pytest.skip(reason)


@pytest.fixture(scope="module", name="hosts")
def hosts_of_a_file() -> Iterator[tuple[Host, Host]]:
    """For a file that imports it: one pair for all its tests."""
    skip_without_hosts()
    with two_hosts() as pair:
        yield pair


def _ip(*words: str) -> None:
    """`CalledProcessError` with what `ip` says of it."""
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=END_S)


def _enter(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _processes(name: str) -> list[int]:
    """In this namespace now, those left out that have ended and wait for their parent."""
    asked = ["ip", "netns", "pids", name]
    told = subprocess.run(asked, capture_output=True, text=True, timeout=END_S).stdout
    return [int(line) for line in told.split() if int(line) != os.getpid()]


def _began(process: int) -> str:
    """When it started, in the kernel's ticks: tells a process from a later one of the same id."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _remove_stale() -> None:
    names = [path.name for path in NAMESPACES.glob(f"{PREFIX}-*")] if NAMESPACES.exists() else []
    for name in names:
        process, began = name.removeprefix(f"{PREFIX}-").split("-")[:2]
        if _began(int(process)) != began:
            with suppress(subprocess.SubprocessError):
                Host(name, "").end()
