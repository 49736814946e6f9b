"""What to do with a workload that fails: other nodes first, then back to where it was well, then nothing more."""

from __future__ import annotations

from mltbd.state.placements import Placement


def spent(placement: Placement, attempts_max: int) -> bool:
    """As many owners in a row as may be have given it up as failed."""
    return placement.attempts >= attempts_max


def way_back(placement: Placement) -> str:
    """The node where it last was well, for one more try once all others are spent; empty when there is none.

    Not the node that has just given it up: it had its tries.
    """
    if placement.retreated or placement.proven == placement.home:
        return ""
    return placement.proven


def has_failed(placement: Placement, attempts_max: int) -> bool:
    """FAILED: nothing more is tried until an operator says so."""
    return not placement.owner and spent(placement, attempts_max) and not way_back(placement)
