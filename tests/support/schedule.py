"""Which tests share a process, and in which order they run, so that no engine is started twice.

pytest-xdist's own groups are a suffix that it writes into a test's id; pytest 9.2 keeps the id.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

ALONE = "alone and "
"""How the choice of the phase begins in which nothing runs beside a test."""
HASTE = ("vllm", "slow")
"""Markers of what may take tens of seconds, and of what takes over one."""


class FilesAndEngines(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """Hands a whole group to a process, in the order of the collection."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)


def has_alone(file: Path) -> bool:
    """Whether a test in it may be marked so."""
    return "mark.alone" in file.read_text(encoding="utf-8")


def group(nodeid: str) -> str:
    """The engine a test runs on, where files share it, or else its file."""
    path, _, name = nodeid.partition("::")
    engine = re.search(r"[\[-]on (\S+)\]$", name)
    return engine[1] if engine else path


def in_order(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """Groups that take long come first, so that all processes end together; a group's tests follow
    each other."""
    groups: dict[str, list[pytest.Item]] = {}
    for item in items:
        groups.setdefault(group(item.nodeid), []).append(item)
    return [item for one in sorted(groups.values(), key=place) for item in one]


def place(tests: Iterable[pytest.Item]) -> int:
    """Of a group: that of its slowest test."""
    return min(map(place_of, tests))


def place_of(test: pytest.Item) -> int:
    found = (at for at, mark in enumerate(HASTE) if test.get_closest_marker(mark))
    return next(found, len(HASTE))
