"""Tables for a terminal: every cell whole at every width."""

import pytest

from server.cli.tables import UNBOUNDED, Column, table_lines

COLUMNS = [Column("name"), Column("prompt tokens", is_number=True), Column("note", is_long=True)]
ROWS = [["a website", "12,345,678", "everything that is said of it"], ["b", "1", "–"]]


def test_a_row_is_a_line_where_it_fits_and_headings_stand_above_each_other() -> None:
    assert table_lines(COLUMNS, ROWS, 60)[0] == ["name       prompt tokens  note"]
    heads, lines = table_lines(COLUMNS, ROWS, 52)
    assert heads == ["               prompt", "name           tokens  note"]
    assert lines == [
        "a website  12,345,678  everything that is said of it",
        "b                   1  –",
    ]


def test_long_cells_go_beneath_where_the_row_is_too_wide() -> None:
    heads, lines = table_lines(COLUMNS, ROWS, 23)
    assert heads == ["               prompt", "name           tokens"]
    assert lines == [
        "a website  12,345,678",
        "  everything that is",
        "  said of it",
        "b                   1",
        "  –",
    ]


def test_a_narrow_terminal_gets_a_block_a_row() -> None:
    heads, lines = table_lines(COLUMNS, ROWS, 20)
    assert heads == []
    assert lines[:2] == ["name           a web", "               site"]
    assert "" in lines


@pytest.mark.parametrize("width", [1, 5, 10, 20, 25, 40, 60, 80, UNBOUNDED])
def test_nothing_is_ever_cut(width: int) -> None:
    heads, lines = table_lines(COLUMNS, ROWS, width)
    text = "".join("".join(heads + lines).split())
    for cell in ("awebsite", "12,345,678", "everythingthatissaidofit"):
        assert all(text.count(c) >= cell.count(c) for c in cell)
    if width > 20:
        assert max(map(len, heads + lines)) <= width


def test_wide_characters_and_control_characters_keep_the_columns() -> None:
    _, lines = table_lines([Column("n"), Column("m")], [["漢字", "x"], ["\x1b[31m", "y"]], 80)
    assert lines == ["漢字   x", "?[31m  y"]
