"""A child that is kept: it answers, and its end ends nothing but one question."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import psutil
import pytest

from engines.host.warm_child import ChildEnded, ChildNotStarted, TookTooLong, WarmChild
from tests.support.paths import ROOT
from tests.support.serving import wait_until

MODULE = "tests.support.slow_child"


@pytest.fixture
def child() -> Iterator[WarmChild]:
    child = WarmChild(MODULE, [])
    yield child
    child.close()


def test_it_is_kept_and_answers_in_turn(child: WarmChild) -> None:
    pid = child.ask("pid", 5)
    assert child.ask("print", 5) == "print"
    assert child.ask("é" * 300_000, 5) == "é" * 300_000
    assert child.ask("pid", 5) == pid


def test_a_question_that_takes_its_cpu_time_is_ended(child: WarmChild) -> None:
    pid = child.ask("pid", 5)
    began = time.monotonic()
    with pytest.raises(TookTooLong):
        child.ask("work", 0.3)
    assert time.monotonic() - began < 20
    assert not psutil.pid_exists(pid)
    assert child.ask("pid", 5) != pid


def test_waiting_is_no_work(child: WarmChild) -> None:
    child.begin()
    assert child.ask("wait", 0.45) == "wait"


def test_its_memory_is_bounded(child: WarmChild) -> None:
    assert child.ask("eat", 5) == "no memory"


def test_a_child_that_dies_is_replaced(child: WarmChild) -> None:
    with pytest.raises(ChildEnded):
        child.ask("die", 5)
    assert child.ask("a", 5) == "a"


def test_one_that_has_worked_long_is_replaced_between_two_questions() -> None:
    child = WarmChild(MODULE, [], most_life_cpu_s=0.01)  # its start takes more
    try:
        assert child.ask("pid", 5) != child.ask("pid", 5)
    finally:
        child.close()


def test_its_environment_is_what_it_is_given() -> None:
    child = WarmChild(MODULE, [], environment={"KEPT": "1"})
    try:
        assert child.ask("environment", 5) == ["KEPT", "OMP_NUM_THREADS", "PYTHONPATH"]
    finally:
        child.close()


def test_one_that_does_not_start_says_so_and_is_tried_again_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    child = WarmChild("tests.support.no_such_module", [])
    with pytest.raises(ChildNotStarted, match="It ended, or was not ready in time"):
        child.begin()
    with pytest.raises(ChildNotStarted, match="a moment ago"):
        child.ask("a", 5)
    child._command[-1] = MODULE  # what was in its way is gone
    with pytest.raises(ChildNotStarted, match="a moment ago"):
        child.ask("a", 5)
    child._may_start_at = 0.0
    assert child.ask("a", 5) == "a"
    child.close()


def test_closing_it_ends_its_question(child: WarmChild) -> None:
    process = psutil.Process(child.ask("pid", 5))
    began_s = process.cpu_times().user
    outcomes: list[BaseException | str] = []

    def ask() -> None:
        try:
            outcomes.append(child.ask("work", 60))
        except ChildEnded as error:
            outcomes.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    wait_until(lambda: process.cpu_times().user > began_s + 0.1, "it works")
    child.close()
    asking.join(20)
    assert [type(outcome) for outcome in outcomes] == [ChildEnded]
    with pytest.raises(ChildNotStarted):
        child.ask("a", 5)


def test_a_child_whose_parent_is_gone_before_it_began_ends_too() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "FJORD_PARENT_PID": str(gone.pid)}
    command = [sys.executable, "-m", MODULE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as child:
        assert child.wait(30) == 1  # though its questions' pipe is open


PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen(
    [sys.executable, "-c", CHILD],
    env={**os.environ, "FJORD_PARENT_PID": str(os.getpid())},
    stdout=subprocess.PIPE,
    start_new_session=True,
)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(600)
"""
CHILD = """
import time
from engines.host.warm_child import end_with_parent
end_with_parent()
print("begun", flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel wakes nobody there")
def test_a_frozen_child_ends_with_its_parent_whatever_group_it_is_in() -> None:
    """In a session of its own the kernel has no other reason to wake it."""
    command = [sys.executable, "-c", f"CHILD = {CHILD!r}\n{PARENT}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        child.suspend()
        wait_until(lambda: child.status() == psutil.STATUS_STOPPED, "it is frozen")
        parent.kill()
    wait_until(lambda: not is_alive(child), "it has ended")


def is_alive(process: psutil.Process) -> bool:
    """A zombie is not: pid 1 may be slow to look after it."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
