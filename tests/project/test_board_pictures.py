"""The boards' pictures: there, light, in the papers, and with numbers as Grafana writes them."""

import json
from pathlib import Path

import pytest

from tests.support.board_load import SCRAPE_S
from tests.support.board_pictures import (
    BOARDS,
    PICTURES,
    asked,
    columns,
    legend,
    threshold,
    with_gaps,
)
from tests.support.board_units import shown, ticks
from tests.support.paths import ROOT


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: str(board.stem))
def test_a_board_has_its_picture_and_a_light_one(board: Path) -> None:
    """`python -m tests.support.board_pictures` draws them."""
    picture = PICTURES / f"board-{board.stem}.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size < 150 * 1024
    assert f"(pictures/{picture.name})" in (ROOT / "docs/monitoring.md").read_text()


def test_there_is_no_picture_of_what_is_no_board() -> None:
    assert {path.stem for path in PICTURES.glob("board-*")} == {f"board-{b.stem}" for b in BOARDS}


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: str(board.stem))
def test_every_panel_can_be_drawn(board: Path) -> None:
    for panel in json.loads(board.read_text())["panels"]:
        assert panel["type"] in ("row", "stat", "table", "timeseries")
        if panel["type"] != "row":
            shown(1.0, panel["fieldConfig"]["defaults"]["unit"])
            assert not [t for t in panel["targets"] if "$" in asked(t["expr"])]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0, "s", "0 s"),
        (0.0234, "s", "23.4 ms"),
        (90, "s", "1.5 min"),
        (3600, "s", "1 hour"),
        (1_000_000, "s", "11.6 days"),
        (0, "short", "0"),
        (12_345, "short", "12.3 K"),
        (999, "short", "999"),
        (3 * 2**20, "bytes", "3 MiB"),
        (0.123, "percentunit", "12.3%"),
        (2.5, "reqps", "2.5 req/s"),
        (float("nan"), "s", "-"),
    ],
)
def test_a_number_is_written_as_grafana_does(value: float, unit: str, text: str) -> None:
    assert shown(value, unit) == text


def test_decimals_that_a_panel_names_are_kept() -> None:
    assert (shown(7.05, "short", 0), shown(12_345, "short", 0)) == ("7", "12.3 K")


@pytest.mark.parametrize("top", [1e-6, 0.18, 1, 3.38, 12.6, 65.8, 1024, 6e10])
def test_ticks_are_few_and_end_below_the_top(top: float) -> None:
    found = ticks(top)
    assert 3 <= len(found) <= 6
    assert found[0] == 0
    assert 0.6 * top <= found[-1] <= top * (1 + 1e-6)


def test_bytes_are_counted_by_their_own_sizes() -> None:
    assert [shown(tick, "bytes") for tick in ticks(7 * 2**30, "bytes")] == [
        *("0 B", "2 GiB", "4 GiB", "6 GiB")
    ]


def test_a_line_ends_where_no_value_came() -> None:
    xs, ys = with_gaps([(0, "1"), (SCRAPE_S, "2"), (10 * SCRAPE_S, "3")])
    assert xs == [0, SCRAPE_S, 2 * SCRAPE_S, 10 * SCRAPE_S]
    assert [y for y in ys if y == y] == [1, 2, 3]


def test_a_legend_is_the_labels_in_its_pattern() -> None:
    assert legend({"legendFormat": "{{alias}} p{{q}}"}, {"alias": "m"}) == "m p"
    assert legend({}, {"alias": "m"}) == ""


def test_a_table_lacks_what_its_panel_leaves_out() -> None:
    options = {"excludeByName": {"job": True, "engine": False}}
    panel = {"transformations": [{"id": "organize", "options": options}]}
    labels = {"__name__": "x", "job": "fjord", "engine": "e"}
    assert columns(panel, labels) == {"engine": "e"}


def test_a_threshold_is_the_last_that_was_reached() -> None:
    steps = [{"value": None, "color": "green"}, {"value": 1, "color": "red"}]
    settings = {"thresholds": {"steps": steps}}
    assert [threshold(settings, value) for value in (0, 1)] == ["#73bf69", "#f2495c"]
