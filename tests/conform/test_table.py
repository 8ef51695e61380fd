"""What `fjord conform` prints: whole at every width."""

import io

import pytest
from rich.console import Console

from server.conform.catalogue import all_checks
from server.conform.check import Result, Verdict
from server.conform.table import show, summary

LONG = "status 200 with " + "a word and another " * 9


def results_of(verdict: Verdict) -> list[Result]:
    return [Result(check=c, verdict=verdict, expected=LONG, seen=LONG) for c in all_checks()]


def shown(width: int, verdict: Verdict) -> list[str]:
    screen = io.StringIO()
    show(Console(file=screen, width=width), results_of(verdict))
    return screen.getvalue().splitlines()


@pytest.mark.parametrize("verdict", ["pass", "fail", "differs", "skipped"])
@pytest.mark.parametrize("width", [80, 200])
def test_every_word_is_there_and_no_line_is_wider(width: int, verdict: Verdict) -> None:
    lines = shown(width, verdict)
    assert max(map(len, lines[:-1])) <= width
    words = " ".join(" ".join(lines).split())
    for check in all_checks():
        assert check.id in words
        assert " ".join(check.title.split()) in words
    assert words.count("a word and another") == len(all_checks()) * 9 * {
        "pass": 0, "skipped": 1
    }.get(verdict, 2)  # fmt: skip


def test_a_check_is_a_line_where_it_fits() -> None:
    assert len(shown(200, "pass")) == len(all_checks()) + 1


def test_the_sums_stand_last() -> None:
    assert shown(80, "fail")[-1] == summary(results_of("fail"))
