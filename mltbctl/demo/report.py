"""What the demo found, as JSON and as text, and whether all of it is as promised. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mltbctl.demo.answers import Tally
from mltbctl.demo.runs import BEAT_S, Overlap, Run
from mltbctl.result import Style

_WIDE = 105
"""Columns from which on a step and its phases share a line."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing done to the cluster and what it took, in seconds; None where it does not apply.

    `downtime_s`: from the old process' last instant to the new one's first. `unanswered_s`: from the last
    answer of the old one to the first of the new one. `detect_s`: until a surviving node said that something
    is wrong; `leader_s`: until one named a new leader. `phases` follow each other.
    """

    kind: str
    """`primary` or `leader` for a kill, else `switchover` or `failback`."""
    source: str
    target: str
    downtime_s: float
    unanswered_s: float | None = None
    detect_s: float | None = None
    leader_s: float | None = None
    phases: dict[str, float] = field(default_factory=dict)
    killed: str | None = None
    operation: int | None = None

    def data(self) -> dict[str, Any]:
        """For JSON, as the contract has it."""
        shared = {
            "downtime_seconds": _rounded(self.downtime_s),
            "unanswered_seconds": _rounded(self.unanswered_s),
            "phases": {name: _rounded(seconds) for name, seconds in self.phases.items()},
        }
        if self.killed is None:
            return {"from": self.source, "to": self.target, "operation": self.operation, **shared}
        return {
            "killed": self.killed,
            "kind": self.kind,
            "new_owner": self.target,
            "detect_seconds": _rounded(self.detect_s),
            "new_leader_seconds": _rounded(self.leader_s),
            **shared,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """Everything measured. `error`: what did not come true in time, empty if all did."""

    nodes: int
    steps: Sequence[Step]
    messages: Tally
    overlaps: Sequence[Overlap]
    runs: Sequence[Run]
    conflicts: int
    seconds: float
    error: str = ""

    @property
    def ok(self) -> bool:
        """All came true, no two ran at once, nothing was lost, nothing answered twice without a kill."""
        messages = self.messages
        answered_once = messages.answered_twice == messages.in_flight
        answered_all = messages.sent > 0 and messages.lost == 0
        return not self.error and not self.overlaps and answered_all and answered_once

    @property
    def gap_s(self) -> float:
        """How exactly the runs were recorded: the longest time between two stamps of one."""
        return max((run.gap_ns for run in self.runs), default=0) / 1e9

    def data(self) -> dict[str, Any]:
        """For JSON, as the contract has it."""
        moves = {step.kind: step.data() for step in self.steps if step.killed is None}
        messages = self.messages
        return {
            "nodes": self.nodes,
            "rounds": [step.data() for step in self.steps if step.killed is not None],
            "switchover": moves.get("switchover"),
            "failback": moves.get("failback"),
            "messages": {
                "sent": messages.sent,
                "answered": messages.answered,
                "answered_twice": messages.answered_twice,
                "in_flight": messages.in_flight,
                "lost": messages.lost,
            },
            "runs": len(self.runs),
            "sampling_gap_seconds": _rounded(self.gap_s),
            "conflicts": self.conflicts,
            "overlaps": len(self.overlaps),
            "overlap_seconds": _rounded(sum(overlap.seconds for overlap in self.overlaps)),
            "lost_messages": messages.lost,
            "seconds": _rounded(self.seconds),
            "error": self.error or None,
            "ok": self.ok,
        }

    def text(self, style: Style) -> str:
        """For people."""
        lines = ["", *self._table(style)] if self.steps else [""]
        lines += ["", *self._totals(style), ""]
        if self.ok:
            lines.append(style.green(f"{style.glyph('ok')} it ran once, and it ran again"))
        else:
            lines.append(style.red(f"{style.glyph('no')} {self._why_not()}"))
        return "\n".join(lines)

    def _table(self, style: Style) -> list[str]:
        beside = style.width >= _WIDE
        head = f"  {'STEP':<16}{'BOT ON':<12}{'DOWN':>8}{'UNANSWERED':>13}"
        lines = [style.bold(f"{head}   WHERE THE TIME WENT" if beside else head)]
        for step in self.steps:
            name = f"killed {step.killed}" if step.killed else step.kind
            moved = f"{step.source} {style.glyph('arrow')} {step.target}"
            silent = "" if step.unanswered_s is None else f"{step.unanswered_s:.2f} s"
            row = f"  {name:<16}{moved:<12}{step.downtime_s:>6.2f} s{silent:>13}"
            dot = f" {style.glyph('waiting')} "
            spent = style.dim(dot.join(f"{phase} {seconds:.2f}" for phase, seconds in step.phases.items()))
            if beside and spent:
                row += f"   {spent}"
            lines.append(row)
            if spent and not beside:
                lines.append(f"    {spent}")
        return lines

    def _totals(self, style: Style) -> list[str]:
        messages = self.messages
        counted = f"sent {messages.sent}   answered {messages.answered}   answered twice {messages.answered_twice}"
        lines = [f"  {'messages':<16}{counted}   lost {_judged(style, messages.lost)}"]
        if messages.in_flight:
            lines.append(f"  {'':<16}{messages.in_flight} of those answered twice: the kill cut the receipt off")
        lines.append(
            f"  {'two owners':<16}{_judged(style, len(self.overlaps))} instants"
            f" ({len(self.runs)} runs, stamped every {BEAT_S * 1000:.0f} ms, longest gap {self.gap_s * 1000:.0f} ms)"
        )
        return lines

    def _why_not(self) -> str:
        if self.overlaps:
            worst = max(self.overlaps, key=lambda overlap: overlap.seconds)
            return f"{worst.first.node} and {worst.second.node} ran at once for {worst.seconds:.3f} s"
        if self.error:
            return self.error
        if self.messages.lost or not self.messages.sent:
            return f"{self.messages.lost} of {self.messages.sent} messages were not answered"
        return f"{self.messages.answered_twice - self.messages.in_flight} messages were answered twice"


def _judged(style: Style, count: int) -> str:
    return style.red(str(count)) if count else style.green("0")


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)
