"""Facts for tests of decisions about places: candidates, placements and operations with sensible defaults."""

from __future__ import annotations

from typing import Any

from mltbd.core.failover import Candidate, Facts, Policy
from mltbd.state.placements import Operation, Placement

AUTOMATIC = Policy(preferred={"main": ("n1", "n2", "n3")})
MANUAL = Policy(automatic=False, preferred={"main": ("n1", "n2", "n3")})
BOTH = (AUTOMATIC, MANUAL)
NOW = 10_000.0


def well(node: str, priority: int = 100, reachable_s: float = 1000.0) -> Candidate:
    return Candidate(node, priority, (), reachable_s)


def ill(node: str, priority: int = 100) -> Candidate:
    return Candidate(node, priority, ("unreachable",), 0.0)


def nodes(*candidates: Candidate | str) -> tuple[Candidate, ...]:
    return tuple(well(one) if isinstance(one, str) else one for one in candidates)


THREE_WELL = nodes("n1", "n2", "n3")


def placed(owner: str = "n2", token: int = 10, **changes: Any) -> Placement:
    """Runs on `owner` since entry 10."""
    fields: dict[str, Any] = {"started": True, "home": "n1"} | changes
    return Placement("main", owner, token, **fields)


def moved(target: str = "n3", cause: str = "switchover", **changes: Any) -> Operation:
    """Operation 20: away from n2."""
    return Operation(20, "main", cause, "n2", target, "because", 1, **changes)


def facts(placement: Placement, candidates: tuple[Candidate, ...] = THREE_WELL, **changes: Any) -> Facts:
    defaults: dict[str, Any] = {
        "operation": None, "lease_over": False, "complete": True, "moved_at": (), "operation_age_s": 0.0,
    }  # fmt: skip
    return Facts(placement=placement, candidates=candidates, **(defaults | changes))
