"""`make test`: all tests, first side by side, then alone those that measure time; one summary.

Every phase is a pytest of its own and runs whatever became of the one before. Where few tests
failed, they run once more with nothing beside them: one that passes then was disturbed, not broken.
At the end stand what was skipped, with the reason, what took longest, what was disturbed, what
failed, and the sum of all phases.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import psutil

from tests.support.schedule import ALONE

GIB = 2**30
_LONGEST, _LONG_S = 20, 10
"""So many files are named at the end, of those that took so long."""
MOST_AGAIN, MOST_FAILED = 500, 5
"""Failed tests that are run again: an engine that many share counts for all of them. Where more
fail, or some of these again, something is broken."""
ELSEWHERE = "not agents and not docker"
"""Makefile targets of their own run those."""
FAILED, NO_TESTS = 1, 5  # pytest's exit statuses; the second: nothing was chosen


@dataclass
class Summary:
    """What the phases' reports say, put together."""

    passed: int = 0
    failed: list[str] = field(default_factory=list)
    """Names as a report has them."""
    disturbed: list[str] = field(default_factory=list)
    """Failed, and passed with nothing beside them."""
    skipped: Counter[str] = field(default_factory=Counter)
    """How many tests, by the reason."""
    names_passed: set[str] = field(default_factory=set)
    xfailed: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    """How long each file's tests took; a fixture counts where it was first asked for."""

    def add(self, report: Path) -> None:
        for case in ElementTree.parse(report).iter("testcase"):
            name = f"{case.get('classname')}::{case.get('name')}"
            file = case.get("classname") or "?"
            self.seconds[file] = self.seconds.get(file, 0.0) + float(case.get("time") or 0)
            if case.find("failure") is not None or case.find("error") is not None:
                self.failed.append(name)
            elif (skip := case.find("skipped")) is None:
                self.passed += 1
                self.names_passed.add(name)
            elif skip.get("type") == "pytest.xfail":
                self.xfailed += 1
            else:
                self.skipped[skip.get("message") or "no reason"] += 1

    def add_again(self, report: Path) -> None:
        """Of those that failed. One that does not run now, since it is skipped, stays failed."""
        again = Summary()
        again.add(report)
        self.disturbed = [name for name in self.failed if name in again.names_passed]
        self.failed = [name for name in self.failed if name not in again.names_passed]
        self.passed += len(self.disturbed)

    def longest(self) -> list[tuple[str, float]]:
        by_time = sorted(self.seconds.items(), key=lambda each: -each[1])
        return [each for each in by_time[:_LONGEST] if each[1] >= _LONG_S]

    def lines(self, wall_s: float) -> Iterator[str]:
        for reason, count in self.skipped.most_common():
            yield f"skipped {count}: {reason}"
        yield from (f"took {took_s:.0f} s: {file}" for file, took_s in self.longest())
        yield from (f"DISTURBED {name}: it passed alone" for name in self.disturbed)
        yield from (f"FAILED {name}" for name in self.failed)
        counts = f"{self.passed} passed, {len(self.failed)} failed, {self.skipped.total()} skipped"
        expected = f", {self.xfailed} expected to fail" if self.xfailed else ""
        yield f"{counts}{expected} in {wall_s / 60:.0f} min {wall_s % 60:.0f} s"


def phases(marks: str) -> dict[str, tuple[str, ...]]:
    """pytest's options of each phase; `marks` is what its caller chose by marker."""
    chosen = f"({marks}) and " if marks else ""
    side_by_side = ("-n", str(workers()), "--dist", "loadfile", "--no-loadscope-reorder")
    return {
        "side by side": ("-m", f"{chosen}not alone and {ELSEWHERE}", *side_by_side),
        "alone": ("-m", f"{ALONE}{chosen}{ELSEWHERE}"),
    }


def workers() -> int:
    """One a core and, for its engine, one each 4 GiB; one more makes vLLM's engines wait for each
    other. More than four gain nothing: the longest group ends last."""
    memory = psutil.virtual_memory().available // (4 * GIB)
    return max(1, min(os.cpu_count() or 1, memory, 4))


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    parser.add_argument("-m", dest="marks", default="")
    known, others = parser.parse_known_args(arguments)
    began, summary = time.monotonic(), Summary()
    with tempfile.TemporaryDirectory(prefix="fjord-", dir=folder_in_memory()) as folder:
        os.chmod(folder, 0o711)  # as root PostgreSQL is another user, who must get through it
        os.environ["TMPDIR"] = folder
        statuses = []
        for name, options in phases(known.marks).items():
            report = Path(folder) / f"{name}.xml"
            failures = Path(folder) / "failures"
            print(f"==> {name}", flush=True)
            statuses.append(run([*options, *reports(report, failures), *others]))
            if report.exists():
                summary.add(report)
        if is_to_run_again(statuses, failures):
            statuses = [run_again(failures, Path(folder) / "again.xml", summary)]
    print("==> all phases", *summary.lines(time.monotonic() - began), sep="\n")
    return status_of(statuses)


def folder_in_memory() -> str | None:
    """Where a ledger's commits wait for no disk; None: the machine has none, or too little."""
    folder = "/dev/shm"
    has_room = os.access(folder, os.W_OK) and psutil.disk_usage(folder).free > 2 * GIB
    return folder if has_room else None


def reports(report: Path, failures: Path) -> tuple[str, ...]:
    return (f"--junit-xml={report}", "-p", "tests.support.failures", f"--failures={failures}")


def is_to_run_again(statuses: Sequence[int], failures: Path) -> bool:
    """Not where a phase ended as it should not, or too many failed."""
    ids = failures.read_text(encoding="utf-8").splitlines() if failures.exists() else []
    return set(statuses) <= {0, FAILED, NO_TESTS} and 0 < len(ids) <= MOST_AGAIN


def run_again(failures: Path, report: Path, summary: Summary) -> int:
    """The failed tests' exit status, with nothing beside them."""
    ids = failures.read_text(encoding="utf-8").splitlines()
    print("==> again, what failed", flush=True)
    status = run(["-m", "", f"--maxfail={MOST_FAILED}", f"--junit-xml={report}", *ids])
    if report.exists():
        summary.add_again(report)
    return status or int(bool(summary.failed))


def run(arguments: Sequence[str]) -> int:
    """pytest's exit status. A Ctrl-C reaches pytest too, which ends by itself."""
    with subprocess.Popen([sys.executable, "-m", "pytest", *arguments]) as pytest:
        try:
            return pytest.wait()
        except KeyboardInterrupt:
            pytest.wait()
            raise


def status_of(statuses: Sequence[int]) -> int:
    """Of all phases: the worst; that a phase had nothing to do is no failure if another had."""
    if all(status == NO_TESTS for status in statuses):
        return NO_TESTS
    return max(abs(status) for status in statuses if status != NO_TESTS)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
