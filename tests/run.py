"""`make test`: all tests, first side by side, then alone those that measure time; one summary.

Every phase is a pytest of its own and runs whatever became of the one before. At the end stand what
was skipped, with the reason, what took longest, what failed, and the sum of all phases.
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

GIB = 2**30
_LONGEST, _LONG_S = 20, 10
"""So many files are named at the end, of those that took so long."""
NO_TESTS = 5  # pytest's exit status where nothing was chosen


@dataclass
class Summary:
    """What the phases' reports say, put together."""

    passed: int = 0
    failed: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    """How many tests, by the reason."""
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
            elif skip.get("type") == "pytest.xfail":
                self.xfailed += 1
            else:
                self.skipped[skip.get("message") or "no reason"] += 1

    def longest(self) -> list[tuple[str, float]]:
        by_time = sorted(self.seconds.items(), key=lambda each: -each[1])
        return [each for each in by_time[:_LONGEST] if each[1] >= _LONG_S]

    def lines(self, wall_s: float) -> Iterator[str]:
        for reason, count in self.skipped.most_common():
            yield f"skipped {count}: {reason}"
        yield from (f"took {took_s:.0f} s: {file}" for file, took_s in self.longest())
        yield from (f"FAILED {name}" for name in self.failed)
        counts = f"{self.passed} passed, {len(self.failed)} failed, {self.skipped.total()} skipped"
        expected = f", {self.xfailed} expected to fail" if self.xfailed else ""
        yield f"{counts}{expected} in {wall_s / 60:.0f} min {wall_s % 60:.0f} s"


def phases(marks: str) -> dict[str, tuple[str, ...]]:
    """pytest's options of each phase; `marks` is what its caller chose by marker."""
    chosen = f"({marks}) and " if marks else ""
    side_by_side = ("-n", str(workers()), "--dist", "loadfile", "--no-loadscope-reorder")
    return {
        "side by side": ("-m", f"{chosen}not alone and not agents", *side_by_side),
        "alone": ("-m", f"{chosen}alone and not agents"),
    }


def workers() -> int:
    """One a core and, for its engine, one each 4 GiB; more than four gain nothing: the longest
    group ends last."""
    memory = psutil.virtual_memory().available // (4 * GIB)
    return max(1, min(os.cpu_count() or 1, memory, 4))


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    parser.add_argument("-m", dest="marks", default="")
    known, others = parser.parse_known_args(arguments)
    began, summary = time.monotonic(), Summary()
    with tempfile.TemporaryDirectory(prefix="fjord-tests-") as folder:
        statuses = []
        for name, options in phases(known.marks).items():
            report = Path(folder) / f"{name}.xml"
            print(f"==> {name}", flush=True)
            statuses.append(run([*options, f"--junit-xml={report}", *others]))
            if report.exists():
                summary.add(report)
    print("==> all phases", *summary.lines(time.monotonic() - began), sep="\n")
    return status_of(statuses)


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
