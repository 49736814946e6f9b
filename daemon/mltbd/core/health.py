"""Is it well? Results of checks become verdicts, slowly enough that one bad answer moves nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from mltbd.core.events import Checked

HEALTHY, UNHEALTHY, UNKNOWN = "HEALTHY", "UNHEALTHY", "UNKNOWN"
DETAIL_CHARS_MAX = 200
NODE = ""
"""Stands where a workload's name would: a check of the node itself."""
JOURNAL = "journal"
"""The check that nobody configures: the node's own disk has room."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How one check is judged. `workload` is empty for a check of the node itself."""

    workload: str
    check: str
    failures: int = 3
    successes: int = 1
    grace_s: float = 0.0
    interval_s: float = 0.0
    notices_s: float = 0.0
    """How long it takes to find out that what looked well is not."""


@dataclass(slots=True)
class Streak:
    """One check under its rule: what it said lately, and the verdict that follows."""

    rule: Rule
    began: float
    verdict: str = UNKNOWN
    failures: int = 0
    successes: int = 0
    last: Checked | None = None
    last_at: float = field(default=float("-inf"))
    grown_at: float = field(default=float("-inf"))
    """When the last result was counted."""

    def heard(self, report: Checked, now: float) -> None:
        """In grace only a success counts: until the first one nobody knows how long a start takes."""
        self.last, self.last_at = report, now
        if report.ok:
            self.failures, self.successes = 0, self._grown(self.successes, now)
            if self.verdict == UNKNOWN or self.successes >= self.rule.successes:
                self.verdict = HEALTHY
            return
        self.successes = 0
        if self.verdict == UNKNOWN and now < self.began + self.rule.grace_s:
            return
        self.failures = self._grown(self.failures, now)
        if self.failures >= self.rule.failures:
            self.verdict = UNHEALTHY

    def _grown(self, row: int, now: float) -> int:
        """Begun at once, then longer by one an interval at most: a moment is no longer for being looked at often."""
        if row and now < self.grown_at + self.rule.interval_s:
            return row
        self.grown_at = now
        return row + 1

    @property
    def trouble(self) -> str:
        """Why it is UNHEALTHY, in words."""
        said = self.last.detail[:DETAIL_CHARS_MAX] if self.last is not None else ""
        return f"check `{self.rule.check}`: {said}" if said else f"check `{self.rule.check}` fails"


class Health:
    """Every check of a node and its workloads. A workload's begin anew with each of its runs."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.streaks: dict[tuple[str, str], Streak] = {
            (rule.workload, rule.check): Streak(rule, float("-inf")) for rule in rules
        }

    @property
    def full(self) -> bool:
        """The node's own disk has no room."""
        streak = self.streaks.get((NODE, JOURNAL))
        return streak is not None and streak.verdict == UNHEALTHY

    def watched(self, workload: str) -> bool:
        """Whether anybody looks at all."""
        return any(name == workload for name, _ in self.streaks)

    def notices_s(self, workload: str) -> float:
        """How long its slowest check takes to find out that it does not do its work."""
        return max((s.rule.notices_s for (name, _), s in self.streaks.items() if name == workload), default=0.0)

    def begin(self, workload: str, now: float) -> None:
        """A new run: what was known of the last one says nothing about it."""
        for key, streak in self.streaks.items():
            if key[0] == workload:
                self.streaks[key] = Streak(streak.rule, now)

    def heard(self, report: Checked, now: float) -> None:
        streak = self.streaks.get((report.workload, report.check))
        if streak is not None:
            streak.heard(report, now)

    def of(self, workload: str) -> str:
        """The worst verdict of its checks; HEALTHY where nobody looks."""
        if not self.streaks:
            return HEALTHY  # Asked with every event.
        verdicts = {streak.verdict for (name, _), streak in self.streaks.items() if name == workload}
        return next((verdict for verdict in (UNHEALTHY, UNKNOWN) if verdict in verdicts), HEALTHY)

    def troubles(self, workload: str) -> tuple[str, ...]:
        """What fails, in words, in the order in which the checks were written."""
        if not self.streaks:
            return ()
        return tuple(
            streak.trouble
            for (name, _), streak in self.streaks.items()
            if name == workload and streak.verdict == UNHEALTHY
        )
