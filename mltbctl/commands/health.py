"""`mltbctl health`: what the checks of a node say, its workloads' included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mltbctl.result import ExitCode, Result
from mltbctl.tables import Cell, Column, table
from mltbctl.words import ago, milliseconds

if TYPE_CHECKING:
    from mltbctl.client import Client
    from mltbctl.result import Style

_COLUMNS = (
    Column("CHECK"),
    Column("OF"),
    Column("KIND", gives_way=1),
    Column("HEALTH"),
    Column("TOOK", right=True, gives_way=2),
    Column("WHEN", gives_way=3),
    Column("DETAIL"),
)
_HEALTH = {
    "HEALTHY": ("ok", "ok", "green"),
    "UNHEALTHY": ("no", "unhealthy", "red"),
    "UNKNOWN": ("waiting", "not known yet", "yellow"),
    None: ("dash", "", "dim"),
}


def health(client: Client, *, run: bool) -> Result:
    """Exit code 1 when anything is unhealthy."""
    data = client.health(run=run)
    code = ExitCode.DONE if data["healthy"] else ExitCode.FAILED
    return Result(data, lambda style: "\n".join(_lines(data, style)), code, rows="checks")


def _lines(data: dict[str, Any], style: Style) -> list[str]:
    return table(_COLUMNS, [_row(check, data["node"], style) for check in data["checks"]], style, indent=0)


def _row(check: dict[str, Any], node: str, style: Style) -> list[Cell]:
    glyph, word, paint = _HEALTH[check["health"]]
    took, age = check["seconds"], check["age_seconds"]
    return [
        Cell(check["check"]),
        Cell(f"workload {check['workload']}" if check["workload"] else f"node {node}"),
        Cell(check["kind"]),
        Cell(f"{style.glyph(glyph)} {word}".rstrip(), paint),
        Cell(style.glyph("dash"), "dim") if took is None else Cell(milliseconds(took * 1000)),
        Cell(style.glyph("dash"), "dim") if age is None else Cell(ago(age)),
        Cell(check["detail"], "red" if check["health"] == "UNHEALTHY" else "dim"),
    ]
