"""What this process may have open and start: a server inherits it."""

import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from server.cli.doctor.diagnosis import Diagnosis, bad, note, ok
from server.settings import Settings

FILES, MANY_FILES = 1024, 8192
"""Connections that can be open at once."""
PROCESSES, MANY_PROCESSES = 256, 1024
"""With their threads: an engine's libraries start one a core, several times over."""
CGROUP = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


def open_files(_: Settings) -> Iterator[Diagnosis]:
    """A server raises its own limit to the hard one."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard == resource.RLIM_INFINITY or hard >= MANY_FILES:
        yield ok("open files", "any number" if hard == resource.RLIM_INFINITY else f"{hard:,}")
        return
    remedy = f"raise it to {MANY_FILES:,} (`ulimit -Hn`, LimitNOFILE=, --ulimit nofile=)"
    words = f"{hard:,} at most: as many connections"
    yield (bad if hard < FILES else note)("open files", words, remedy)


def processes(_: Settings) -> Iterator[Diagnosis]:
    """Of the user, and of the container or unit that this is in."""
    most = min(_of_user(), _of_cgroup())
    if most >= MANY_PROCESSES:
        yield ok("processes", f"{most:,} and threads" if most < _ANY else "any number")
        return
    remedy = f"raise it to {MANY_PROCESSES:,} (`ulimit -u`, TasksMax=, --pids-limit)"
    words = f"{most:,} at most, their threads counted"
    yield (bad if most < PROCESSES else note)("processes", words, remedy)


_ANY = 2**62


def _of_user() -> int:
    soft = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    return _ANY if soft == resource.RLIM_INFINITY else soft


def _of_cgroup() -> int:
    """The smallest `pids.max` of this process's cgroup and those above it (version 2)."""
    with suppress(OSError, StopIteration):
        lines = OWN_CGROUP.read_text().splitlines()
        own = next(line[3:] for line in lines if line.startswith("0::"))
        at = CGROUP / own.lstrip("/")
        return min(map(_pids_max, (at, *at.parents)))
    return _ANY


def _pids_max(folder: Path) -> int:
    with suppress(OSError, ValueError):
        return int((folder / "pids.max").read_text())
    return _ANY
