"""Columns that line up, give way and wrap."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mltbctl.result import Style
from mltbctl.tables import Cell, Column, flow, table, wrapped

COLUMNS = (Column("NAME"), Column("SIZE", right=True, gives_way=1), Column("NOTE"))
ROWS = [[Cell("a"), Cell("12"), Cell("fine", "green")], [Cell("bcdef"), Cell("3"), Cell("")]]


def test_columns_line_up_and_paint_does_not_count() -> None:
    assert table(COLUMNS, ROWS, Style(width=80), indent=0) == ["NAME   SIZE  NOTE", "a        12  fine", "bcdef     3"]
    painted = table(COLUMNS, ROWS, Style(colour=True, width=80), indent=0)
    assert painted[1] == "a        12  \x1b[32mfine\x1b[0m"


def test_a_column_gives_way_before_the_last_is_cut() -> None:
    assert table(COLUMNS, ROWS, Style(width=14), indent=0)[1] == "a      fine"
    long = [[Cell("a"), Cell("1"), Cell("a note that is much too long")]]
    assert table(COLUMNS, long, Style(width=20), indent=0)[1] == "a     a note that i…"
    assert table(COLUMNS, long, Style(width=20, unicode=False), indent=0)[1].endswith("i~")


def test_nothing_is_left_out_where_nobody_looks() -> None:
    whole = Style(width=14, whole=True)
    long = [[Cell("a"), Cell("1"), Cell("a note that is much too long")]]
    row = "a        1  a note that is much too long"
    assert table(COLUMNS, long, whole, indent=0)[1:] == [row]
    assert table(COLUMNS, long, whole, indent=0, wrap=True)[1:] == [row]


def test_the_last_column_wraps_where_nothing_may_be_left_out() -> None:
    long = [[Cell("a"), Cell("1"), Cell("a note that is much too long", "red")]]
    assert table(COLUMNS, long, Style(width=20), indent=1, wrap=True)[1:] == [
        " a     a note that",
        "       is much too",
        "       long",
    ]


def test_a_column_gives_way_before_the_last_is_wrapped_into_a_column_of_words() -> None:
    note = "a note that is much too long for any of these screens"
    long = [[Cell("a"), Cell("1"), Cell(note)]]
    assert table(COLUMNS, long, Style(width=42), indent=0, wrap=True)[1] == "a        1  a note that is much too long"
    assert table(COLUMNS, long, Style(width=41), indent=0, wrap=True)[1] == "a     a note that is much too long for"


def test_no_rows_leave_the_headings() -> None:
    assert table(COLUMNS, [], Style(width=80), indent=0) == ["NAME  SIZE  NOTE"]


def test_flow_breaks_between_pieces_only() -> None:
    cells = [Cell("one two"), Cell("three"), Cell("four", "dim")]
    assert flow(cells, Style(width=80)) == ["one two   three   four"]
    assert flow(cells, Style(width=16)) == ["one two   three", "  four"]
    assert flow([], Style(width=16)) == []


def test_wrapped_keeps_commands_whole() -> None:
    assert wrapped("please run `mltbctl status` now", Style(width=20), "! ") == [
        "! please run",
        "  `mltbctl status`",
        "  now",
    ]


@given(st.lists(st.text("ab` ", max_size=12), max_size=8), st.integers(20, 60))
def test_wrapped_loses_no_word(parts: list[str], width: int) -> None:
    text = " ".join(parts)
    lines = wrapped(text, Style(width=width))
    assert "".join("".join(lines).split()) == "".join(text.split())
