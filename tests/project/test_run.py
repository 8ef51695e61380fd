"""`make test` runs every phase, sums them up, and is green only when all are."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.run import MOST_AGAIN, NO_TESTS, Summary, is_to_run_again, phases, status_of
from tests.support.paths import ROOT
from tests.support.schedule import ALONE, has_alone
from tests.support.serve_process import environment

SUITE = """
import pytest

def test_fails(): assert not "this one"

@pytest.mark.skip(reason="no card is here")
@pytest.mark.parametrize("number", [1, 2])
def test_skipped(number): ...

@pytest.mark.xfail(reason="a bug of a library")
def test_expected(): assert not "this one"

@pytest.mark.alone
def test_passes_alone(): ...
"""


DISTURBED = """
import pathlib

def test_is_disturbed():
    seen = pathlib.Path("seen")
    was_there = seen.exists()
    seen.touch()
    assert was_there, "beside others"
"""


def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "tests.run", *arguments],
        cwd=folder,
        env=environment(PYTHONPATH=str(ROOT)),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_after_a_failure_the_next_phase_runs_and_the_summary_tells_of_both(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    done = run(tmp_path)
    assert done.returncode == 1
    *_, skipped, failed, last = done.stdout.splitlines()
    assert skipped == "skipped 2: no card is here"
    assert failed == "FAILED test_suite::test_fails"
    counts = "1 passed, 1 failed, 2 skipped, 1 expected to fail"
    assert re.fullmatch(rf"{counts} in \d+ min \d+ s", last)


@pytest.mark.slow
@pytest.mark.parametrize("is_broken", [False, True])
def test_what_fails_beside_others_and_passes_alone_is_named_and_no_failure(
    tmp_path: Path, is_broken: bool
) -> None:
    (tmp_path / "test_disturbed.py").write_text(DISTURBED)
    (tmp_path / "test_suite.py").write_text(SUITE if is_broken else "def test_passes(): ...")
    done = run(tmp_path)
    assert done.returncode == int(is_broken), done.stdout
    lines = done.stdout.splitlines()
    assert "DISTURBED test_disturbed::test_is_disturbed: it passed alone" in lines
    assert ("FAILED test_suite::test_fails" in lines) == is_broken
    counts = "2 passed, 1 failed, 2 skipped" if is_broken else "2 passed, 0 failed, 0 skipped"
    assert lines[-1].startswith(counts)


@pytest.mark.parametrize(
    ("statuses", "failed", "is_again"),
    [
        ([1, 0], 1, True),
        ([1, 1], MOST_AGAIN, True),
        ([1, 0], MOST_AGAIN + 1, False),
        ([2, 0], 1, False),
        ([3, 1], 1, False),
        ([0, 0], 0, False),
    ],
)
def test_a_run_that_broke_off_or_failed_widely_is_not_tried_again(
    tmp_path: Path, statuses: list[int], failed: int, is_again: bool
) -> None:
    failures = tmp_path / "failures"
    failures.write_text("".join(f"test_a.py::test_{i}\n" for i in range(failed)))
    assert is_to_run_again(statuses, failures) == is_again
    failures.unlink()
    assert not is_to_run_again(statuses, failures)


def test_the_files_that_took_longest_are_named(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    case = '<testcase classname="{}" name="{}" time="{}"/>'
    cases = [
        case.format("quick", 1, "9.9"),
        case.format("slow", 1, "6.5"),
        case.format("slow", 2, "6"),
    ]
    report.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
    summary = Summary()
    summary.add(report)
    assert list(summary.lines(75)) == [
        "took 12 s: slow",
        "3 passed, 0 failed, 0 skipped in 1 min 15 s",
    ]


@pytest.mark.slow
def test_a_choice_by_marker_holds_in_both_phases(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    done = run(tmp_path, "-m", "alone or xfail")
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1].startswith("1 passed, 0 failed, 0 skipped, 1 expected")


def test_no_test_is_in_two_phases_or_in_none() -> None:
    chosen = [options[1] for options in phases("").values()]
    others = "not agents and not docker"
    assert chosen == [f"not alone and {others}", f"alone and {others}"]


def test_a_file_is_read_for_the_second_phase_where_it_has_such_a_test(tmp_path: Path) -> None:
    for name, text in (("with.py", SUITE), ("without.py", "def test_alone(): ...\n")):
        (tmp_path / name).write_text(text)
    assert has_alone(tmp_path / "with.py")
    assert not has_alone(tmp_path / "without.py")
    assert phases("not vllm")["alone"][1].startswith(ALONE)


@pytest.mark.parametrize(
    ("statuses", "status"),
    [
        ([0, 0], 0),
        ([0, NO_TESTS], 0),
        ([NO_TESTS, NO_TESTS], NO_TESTS),
        ([1, 0], 1),
        ([NO_TESTS, 1], 1),
        ([-9, 0], 9),
        ([0, 3], 3),
    ],
)
def test_the_status_is_the_worst(statuses: list[int], status: int) -> None:
    assert status_of(statuses) == status
