"""One server a data directory, whatever became of the one before and of its children."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from server.ledger.errors import LedgerInUse
from server.ledger.serving_lock import ServingLock
from tests.support.paths import ROOT

HOLDER = """
import os, sys, time
from pathlib import Path
from server.ledger.serving_lock import ServingLock

lock = ServingLock(Path(sys.argv[1]))
lock.take()
begun, begins = os.pipe()
child = os.fork()
if child == 0:
    os.write(begins, b".")
if child == 0 and sys.argv[2] == "leaves":
    os._exit(0)
if child == 0:
    time.sleep(60)
    os._exit(0)
if sys.argv[2] == "leaves":
    os.waitpid(child, 0)
os.read(begun, 1)  # a child that never ran has had no time to let go
print(child, flush=True)
time.sleep(60)
"""


@contextmanager
def holder(folder: Path, child: str) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """A process that holds the lock and has forked a child, which leaves or stays."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), child],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as process:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())
        process.kill()


def test_a_child_that_ends_frees_nothing(tmp_path: Path) -> None:
    with (
        holder(tmp_path, "leaves") as (process, _),
        pytest.raises(LedgerInUse, match=f"process {process.pid}"),
    ):
        ServingLock(tmp_path).take()
    ServingLock(tmp_path).take()


def test_a_child_that_outlives_its_killed_server_keeps_nothing(tmp_path: Path) -> None:
    with holder(tmp_path, "stays") as (process, child):
        with pytest.raises(LedgerInUse, match=f"process {process.pid}"):
            ServingLock(tmp_path).take()
        process.kill()
        process.wait()
        try:
            lock = ServingLock(tmp_path)
            lock.take()
            assert lock.holder() == str(os.getpid())
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_lock_is_given_back_and_taken_again(tmp_path: Path) -> None:
    first, second = ServingLock(tmp_path), ServingLock(tmp_path)
    first.take()
    with pytest.raises(LedgerInUse):
        second.take()
    assert (first.is_held, second.is_held) == (True, False)
    first.release()
    first.release()
    second.take()
    assert (tmp_path / "ledger.lock").stat().st_mode & 0o777 == 0o600
    second.release()
