"""What log entries tell of themselves for the history: how long each step took, as the leader measured it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Phase:
    """One step and its length by the leader's monotonic clock: detect, election, lease, order, grant, stop, start."""

    name: str
    seconds: float
