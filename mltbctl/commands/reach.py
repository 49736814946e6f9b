"""`mltbctl reachability` and `mltbctl rtt`: who hears whom, and how long it takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mltbctl.facts import readable
from mltbctl.result import Result, Style
from mltbctl.tables import Cell, Column, table
from mltbctl.words import milliseconds

if TYPE_CHECKING:
    from mltbctl.client import Client

Entry = dict[str, Any]


def reachability(client: Client) -> Result:
    """For each pair: does the node of the row hear the node of the column?"""
    return _matrix(client, _hearing)


def rtt(client: Client) -> Result:
    """For each pair: the round trip, as the node of the row measures it."""
    return _matrix(client, _round_trip)


def _matrix(client: Client, cell: Callable[[Entry, Style], Cell]) -> Result:
    survey = readable(client.survey(quick=True))
    rows = []
    for node, facts in survey["facts"].items():
        hears = None
        if facts is not None:
            hears = {
                other: {**entry, "hears": entry["state"] != "UNREACHABLE"} for other, entry in facts["heard"].items()
            }
        rows.append({"node": node, "answers": facts is not None, "hears": hears})
    data = {"view": {"node": survey["node"]}, "rows": rows}
    return Result(data, lambda style: _text(rows, style, cell), rows="rows")


def _text(rows: list[dict[str, Any]], style: Style, cell: Callable[[Entry, Style], Cell]) -> str:
    names = [row["node"] for row in rows]
    lines = []
    for row in rows:
        cells = [Cell(row["node"], "bold")]
        for name in names:
            entry = (row["hears"] or {}).get(name)
            if name == row["node"]:
                cells.append(Cell(style.glyph("dash"), "dim"))
            elif row["hears"] is None or entry is None:
                cells.append(Cell("?", "yellow"))
            else:
                cells.append(cell(entry, style))
        lines.append(cells)
    return "\n".join(table([Column("FROM / TO"), *(Column(name) for name in names)], lines, style))


def _hearing(entry: Entry, style: Style) -> Cell:
    if entry["link"] == "refused":
        return Cell("keys", "red")
    if not entry["hears"]:
        return Cell(style.glyph("no"), "red")
    if entry["link"] == "down":
        return Cell("by others", "yellow")  # It is heard of, but what is sent to it does not arrive.
    return Cell(style.glyph("ok"), "green") if entry["link"] == "up" else Cell("no need", "dim")


def _round_trip(entry: Entry, style: Style) -> Cell:
    if entry["rtt_ms"] is None:
        return Cell("?" if entry["hears"] else style.glyph("no"), "yellow")
    return Cell(milliseconds(entry["rtt_ms"]))
