"""`make test` runs every phase, sums them up, and is green only when all are."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.run import NO_TESTS, Summary, phases, status_of
from tests.support.paths import ROOT
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
    assert chosen == ["not alone and not agents", "alone and not agents"]


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
