"""`mltbctl help exit-codes`: what each exit code means."""

from __future__ import annotations

from mltbctl.result import ExitCode, Result
from mltbctl.tables import Cell, Column, table

_COLUMNS = (Column("CODE", right=True), Column("MEANING"))


def exit_codes() -> Result:
    """The table of all exit codes."""
    data = {"exit_codes": [{"code": int(code), "meaning": code.meaning} for code in ExitCode]}
    rows = [[Cell(str(int(code))), Cell(code.meaning)] for code in ExitCode]
    return Result(data, lambda style: "\n".join(table(_COLUMNS, rows, style, indent=0)), rows="exit_codes")
