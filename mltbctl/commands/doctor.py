"""`mltbctl doctor`: what is wrong, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mltbctl.diagnosis import NOTE, OK, PROBLEM, WARNING, Finding, asked, counted, diagnose
from mltbctl.errors import CliError, Unreachable
from mltbctl.facts import readable
from mltbctl.result import ExitCode, Result, Style
from mltbctl.tables import wrapped
from mltbctl.words import count

if TYPE_CHECKING:
    from mltbctl.client import Client

_GLYPHS = {PROBLEM: "no", WARNING: "alert", NOTE: "waiting", OK: "ok"}
_PAINTS = {PROBLEM: "red", WARNING: "yellow", NOTE: "dim", OK: "green"}


def doctor(client: Client, node: str | None, *, strict: bool, verbose: bool = False) -> Result:
    """The findings about the whole cluster, or about one node; with `verbose` also what was counted."""
    try:
        status, survey = client.status(), readable(client.survey())
    except Unreachable as error:
        raise Unreachable(error.message, "look at this machine alone: `mltbctl doctor --pre`") from error
    if node is not None and node not in (nodes := asked(status, survey)):
        known = ", ".join(f"`{name}`" for name in nodes)
        raise CliError(f"`{node}` is no member, known are {known}", "run `mltbctl nodes`", code="usage")
    found = diagnose(status, survey)
    if verbose:
        found += counted(survey)
    if node is not None:
        found = [finding for finding in found if finding.node in ("", node)]
    return verdict(found, strict=strict, seen_by=survey["node"])


def verdict(found: Sequence[Finding], *, strict: bool, seen_by: str) -> Result:
    """Findings as a Result; with `strict` exit 8 where there is a problem or a warning."""
    counts = {level: sum(finding.level == level for finding in found) for level in _GLYPHS}
    bad = counts[PROBLEM] + counts[WARNING]
    data = {
        "view": {"node": seen_by},
        "healthy": not bad,
        "problems": counts[PROBLEM],
        "warnings": counts[WARNING],
        "findings": [finding.data() for finding in found],
    }
    code = ExitCode.DEGRADED if strict and bad else ExitCode.DONE
    return Result(data, lambda style: render(data, style), code, rows="findings")


def render(data: dict[str, Any], style: Style) -> str:
    """A line for each finding, its hint below it, the sum at the end."""
    lines: list[str] = []
    for finding in data["findings"]:
        paint = getattr(style, _PAINTS[finding["level"]])
        where = f"{finding['node']}: " if finding["node"] else ""
        head = f"{paint(style.glyph(_GLYPHS[finding['level']]))} {style.bold(finding['check'])}  "
        lines += wrapped(f"{where}{finding['message']}", style, first=head, indent=4)
        if finding["hint"]:
            lines += wrapped(finding["hint"], style, first=f"    {style.dim('hint:')} ", indent=4)
    bad = [count(data[key], key[:-1]) for key in ("problems", "warnings") if data[key]]
    return "\n".join([*lines, "", style.yellow(", ".join(bad)) if bad else style.green("nothing is wrong")])
