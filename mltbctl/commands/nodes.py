"""`mltbctl nodes`: the members, one a line, with where they are and what they run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mltb_transport.addresses import spelled
from mltbctl.overview import health_cell, is_known, role_cell, rtt_cell, seen_cell
from mltbctl.result import Result
from mltbctl.tables import Cell, Column, table

if TYPE_CHECKING:
    from mltbctl.client import Client
    from mltbctl.result import Style

_COLUMNS = (
    Column("NODE"),
    Column("ROLE"),
    Column("HEALTH"),
    Column("PRIO", right=True, gives_way=3),
    Column("ADDRESS"),
    Column("LAST SEEN"),
    Column("RTT", right=True, gives_way=4),
    Column("LAG", right=True, gives_way=2),
    Column("VERSION", gives_way=1),
)


def nodes(client: Client) -> Result:
    """The members of the cluster as the daemon sees them."""
    data = client.status()
    viewer = data["view"]["node"]
    members = data["nodes"]
    return Result(
        {"view": data["view"], "nodes": members, "protocol": data["cluster"].get("protocol")},
        lambda style: "\n".join(table(_COLUMNS, [_row(node, viewer, style) for node in members], style, indent=0)),
        rows="nodes",
    )


def _row(node: dict[str, Any], viewer: str, style: Style) -> list[Cell]:
    local = node["id"] == viewer
    known, nothing = is_known(node), Cell(style.glyph("dash"), "dim")
    lag = node.get("lag") if known else None
    return [
        Cell(f"{node['id']} {style.glyph('local')}", "bold") if local else Cell(node["id"]),
        role_cell(node, style),
        health_cell(node, style),
        Cell(str(node["priority"])) if known else nothing,
        Cell(spelled(node["address"], node["port"])) if known else nothing,
        seen_cell(node, local),
        rtt_cell(node, style),
        nothing if lag is None else Cell(str(lag)),
        Cell(node["version"]) if known else nothing,
    ]
