"""Planted bugs in what operators hold still; the same idea as planted.py."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mltbd.core.failover import Candidate, Facts
from mltbd.core.holding import Watch
from mltbd.core.placer import Placer
from mltbd.state.controls import Controls
from tests.sim.planted import THREE, Bug, mostly


def pause_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A leader decides as if nobody had paused."""
    facts = Placer.facts

    def unpaused(self: Placer, workload: str, now: float) -> Facts:
        return replace(facts(self, workload, now), paused=False)

    patch.setattr(Placer, "facts", unpaused)


def drain_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A drained node counts as a place like any other."""
    candidate = Placer._candidate

    def undrained(self: Placer, node: str, workload: str, load: int, now: float) -> Candidate:
        found = candidate(self, node, workload, load, now)
        return replace(found, reasons=tuple(reason for reason in found.reasons if reason != "drained"))

    patch.setattr(Placer, "_candidate", undrained)


def decides_before_it_is_applied(patch: pytest.MonkeyPatch) -> None:
    """A leader places workloads although a pause or a drain is on its way through the log."""
    patch.setattr("mltbd.core.placer.pending_control", lambda _entries: False)


def half_a_pause(patch: pytest.MonkeyPatch) -> None:
    """A pause is over after half its time."""
    ends_at = Watch.ends_at

    def soon(self: Watch, controls: Controls) -> float:
        if controls.paused is None or not controls.paused.seconds:
            return float("inf")
        return 0.5 * (ends_at(self, controls) + self._paused[1])

    patch.setattr(Watch, "ends_at", soon)


HELD = mostly(hold=6, drain=2, crash_machine=4, crash_daemon=2)
EMPTIED = mostly(drain=8, crash_machine=4, crash_daemon=4, exit=2)
LATE = mostly(hold=8, drain=8, ask=6, crash_daemon=5, slow_disk=5, lag=5, stop=4)

CONTROL_BUGS = (
    Bug("pause forgotten", pause_forgotten, ("pause holds",), HELD, THREE),
    Bug("drain forgotten", drain_forgotten, ("drained stay empty",), EMPTIED, THREE),
    Bug("decides before it is applied", decides_before_it_is_applied, ("pause holds", "drained stay empty"), LATE),
    Bug("pauses end early", half_a_pause, ("pauses last",), HELD, THREE),
)
