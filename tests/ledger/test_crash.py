"""The ledger under SIGKILL and on a full disk: nothing acknowledged is lost, nothing is doubled."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from server.ledger.errors import LedgerInUse
from server.ledger.ledger import Ledger
from server.ledger.sqlite import FILE_NAME
from tests.support.paths import ROOT, TESTS

pytestmark = pytest.mark.anyio


def start_child(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, str(TESTS / "support/ledger_child.py"), *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def run_and_kill(data_dir: Path, prefix: str, lines: int) -> list[str]:
    """What the child had promised when it died; a last torn line was promised to nobody."""
    with start_child("serve", str(data_dir), prefix) as child:
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(lines)]
        child.send_signal(signal.SIGKILL)
        said += child.stdout.readlines()
    return [line for line in said if line.endswith("\n")]


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [5, pytest.param(30, marks=pytest.mark.slow)])
async def test_no_kill_loses_or_doubles_a_record(tmp_path: Path, rounds: int) -> None:
    chance = random.Random(4)
    opened: set[str] = set()
    done: set[str] = set()
    for number in range(rounds):
        for line in run_and_kill(tmp_path, f"r{number}", chance.randrange(1, 400)):
            step, name = line.split()
            (done if step == "done" else opened).add(name)
    last = Ledger.open(tmp_path, node="n")
    await last.start()  # closes what the last round left open
    await last.stop()

    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        found = connection.execute('SELECT record_id, "end" FROM usage_records').fetchall()
        sums = connection.execute("SELECT sum(requests), sum(amount) FROM daily").fetchone()
        total = connection.execute("SELECT count(*), sum(amount) FROM records").fetchone()
        left = connection.execute("SELECT count(*) FROM open_requests").fetchone()
    ends = dict(found)
    assert len(ends) == len(found)
    assert all(ends[name] == "ok" for name in done)
    assert all(ends[name] in ("ok", "lost") for name in opened)
    assert "lost" in ends.values()
    assert sums == total
    assert left == (0,)


async def test_a_second_server_on_the_same_directory_is_refused(tmp_path: Path) -> None:
    with start_child("serve", str(tmp_path), "first") as child:
        assert child.stdout is not None
        child.stdout.readline()
        with pytest.raises(LedgerInUse, match=f"process {child.pid}"):
            Ledger.open(tmp_path, node="n")
        child.kill()
    second = Ledger.open(tmp_path, node="n")
    await second.start()
    await second.stop()


@pytest.mark.slow
def test_a_full_disk_refuses_new_work_keeps_what_ran_and_recovers(tmp_path: Path) -> None:
    with start_child("fill", str(tmp_path)) as child:
        assert child.wait(timeout=60) == 0
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        found = connection.execute(
            'SELECT record_id, "end", amount, owner, "user" FROM usage_records ORDER BY seq'
        ).fetchall()
    assert [row[:3] for row in found] == [
        ("before", "ok", 11),
        ("in-flight", "ok", 11),
        ("refused", "failed", 0),
        ("after", "ok", 11),
    ]
    for name, _, _, owner, user in found:
        assert (owner, user) == (f"owner of {name}", f"user of {name}")
