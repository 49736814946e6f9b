"""How the clocks of other nodes compare with ours: from their answers, with the error the round trip leaves."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

BASELINE_S = 20.0
"""Over less time a rate says more about the network than about a clock."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Both clocks in the middle of one round trip. `wall_ahead_s`: the other's wall clock less ours."""

    incarnation: int
    ours: float
    theirs: float
    wall_ahead_s: float
    rtt_s: float


class Clocks:
    """Two samples of each peer: the first good one of its present incarnation, and the newest."""

    def __init__(self) -> None:
        self._pairs: dict[str, tuple[Sample, Sample]] = {}

    def note(self, peer: str, sample: Sample) -> None:
        first = self._pairs[peer][0] if peer in self._pairs else sample
        # A reboot starts their clock anew. Within the baseline a quicker answer is a better first one.
        better = sample.rtt_s < first.rtt_s and sample.ours - first.ours < BASELINE_S
        if first.incarnation != sample.incarnation or better:
            first = sample
        self._pairs[peer] = (first, sample)

    def keep(self, peers: Collection[str]) -> None:
        """Forget all others."""
        self._pairs = {peer: pair for peer, pair in self._pairs.items() if peer in peers}

    def report(self) -> dict[str, dict[str, Any]]:
        """Each peer's offset of the wall clock and rate of the monotonic one, with their errors."""
        return {peer: _compared(*pair) for peer, pair in self._pairs.items()}


def _compared(first: Sample, last: Sample) -> dict[str, Any]:
    over_s = last.ours - first.ours
    rate = error = None
    if over_s >= BASELINE_S:
        rate = round(((last.theirs - first.theirs) / over_s - 1) * 1e6, 1)
        error = round((first.rtt_s + last.rtt_s) / 2 / over_s * 1e6, 1)
    return {
        "offset_seconds": round(last.wall_ahead_s, 4),
        "offset_error_seconds": round(last.rtt_s / 2, 4),
        "rate_ppm": rate,
        "rate_error_ppm": error,
        "over_seconds": round(over_s, 1),
    }
