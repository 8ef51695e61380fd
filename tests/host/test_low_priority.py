"""Processes give way for a while, and have their own priority back."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from engines.host import low_priority
from engines.host.low_priority import LOWER_BY, can_be_raised, giving_way

pytestmark = pytest.mark.skipif(
    not can_be_raised(), reason="this user may not raise a priority again (ulimit -e 20)"
)
THREADS = """
import sys, threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
print(flush=True)
sys.stdin.read()
"""


@pytest.fixture
def child() -> Iterator[int]:
    """With two threads."""
    command = [sys.executable, "-c", THREADS]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        yield process.pid
        process.stdin.close()


def values(pid: int) -> set[int]:
    tasks = os.listdir(f"/proc/{pid}/task")
    assert len(tasks) == 2
    return {os.getpriority(os.PRIO_PROCESS, int(task)) for task in tasks}


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


BASE = os.getpriority(os.PRIO_PROCESS, 0)


def test_every_thread_gives_way_inside_the_block(child: int) -> None:
    with giving_way(lambda: [child]):
        until(lambda: values(child) == {BASE + LOWER_BY})
    assert values(child) == {BASE}
    assert os.getpriority(os.PRIO_PROCESS, 0) == BASE


def test_one_that_appears_later_does_too_and_one_that_ended_is_nothing(child: int) -> None:
    found = [2**22 + 1]
    with giving_way(lambda: list(found)):
        assert values(child) == {BASE}
        found.append(child)
        until(lambda: values(child) == {BASE + LOWER_BY})
    assert values(child) == {BASE}


def test_not_for_longer_than_a_start_may_wait(child: int) -> None:
    with giving_way(lambda: [child], most_s=0.2):
        until(lambda: values(child) == {BASE + LOWER_BY})
        until(lambda: values(child) == {BASE})
    assert values(child) == {BASE}


def test_where_it_could_not_be_raised_again_nothing_is_lowered(
    child: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(low_priority, "can_be_raised", lambda: False)
    asked: list[int] = []

    def pids() -> list[int]:
        asked.append(child)
        return [child]

    with giving_way(pids):
        assert values(child) == {BASE}
    assert not asked


def test_one_with_a_value_of_its_own_keeps_it(child: int) -> None:
    for task in os.listdir(f"/proc/{child}/task"):
        os.setpriority(os.PRIO_PROCESS, int(task), BASE + 5)
    with subprocess.Popen([sys.executable, "-c", THREADS], stdin=-1, stdout=-1) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        other.stdout.readline()
        with giving_way(lambda: [child, other.pid]):
            until(lambda: values(other.pid) == {BASE + LOWER_BY})
            assert values(child) == {BASE + 5}
        other.stdin.close()
    assert values(child) == {BASE + 5}


def test_a_failed_start_leaves_none_lowered(child: int) -> None:
    def start() -> None:
        with giving_way(lambda: [child]):
            until(lambda: values(child) == {BASE + LOWER_BY})
            raise OSError("it failed")

    with pytest.raises(OSError, match="it failed"):
        start()
    assert values(child) == {BASE}
