"""A pytest plugin that writes down which tests failed, as they come: --failures FILE."""

from pathlib import Path

import pytest


class Failures:
    """One id a line, each once, written as they come."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._ids: set[str] = set()
        file.touch()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and report.nodeid not in self._ids:
            self._ids.add(report.nodeid)
            with self._file.open("a", encoding="utf-8") as file:
                file.write(report.nodeid + "\n")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--failures", type=Path, help="write the failed tests' ids to this file")


def pytest_configure(config: pytest.Config) -> None:
    file = config.getoption("--failures")
    if file is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Failures(file))
