"""Where workloads belong, and when they may go there: the leader's decisions. Facts in, commands to propose out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mltb_transport.messages import Abandon, Command, Grant, Move
from mltbd.core.retreat import spent, way_back
from mltbd.state.placements import Operation, Placement

MOVES_PER_HOUR_MAX = 6
"""Brake on automatic failbacks: a bot that logs in too often is locked out by its service for up to an hour."""
HOUR_S = 3600.0
HOLD_DOWN_MAX_S = 3600.0


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator configured. `preferred`: node ids in order of preference, by workload."""

    automatic: bool = True
    timeout_s: float = 30.0
    max_attempts: int = 3
    recovery_wait_s: float = 60.0
    preferred: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    spread: bool = False  # workloads go where the fewest run, and stay there

    def order(self, workload: str) -> tuple[str, ...]:
        return self.preferred.get(workload, ())


@dataclass(frozen=True, slots=True)
class Candidate:
    """One node as a place for one workload. `reasons` say why not; empty when eligible."""

    node: str
    priority: int
    reasons: tuple[str, ...]
    reachable_s: float  # without a break, for as long as we have led
    load: int = 0  # other workloads it owns, or is about to

    @property
    def eligible(self) -> bool:
        return not self.reasons


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything one decision about one workload rests on."""

    placement: Placement
    operation: Operation | None
    candidates: tuple[Candidate, ...]
    lease_over: bool  # the owner, if any, has stopped for certain
    complete: bool  # every voter is present and has told what it could run, or had time to
    moved_at: tuple[float, ...]  # when placements changed lately, as this node saw it
    operation_age_s: float  # since this leader first saw the present operation
    paused: bool = False  # nothing moves unless an operator asks for it
    drained: bool = False  # the owner's node is to be empty


def preference(policy: Policy, workload: str, candidate: Candidate) -> tuple[int, int]:
    """Smaller is better: the configured order first, then priority.

    Where workloads are spread, priority is no reason to move one that runs: it would gather them again.
    """
    order = policy.order(workload)
    place = order.index(candidate.node) if candidate.node in order else len(order)
    return (place, 0 if policy.spread else -candidate.priority)


def _rank(policy: Policy, workload: str, candidate: Candidate) -> tuple[int, int, int, str]:
    """Smaller is better for a workload that runs nowhere: among equal places the fewest others, if they are spread."""
    place, _ = preference(policy, workload, candidate)
    return (place, candidate.load if policy.spread else 0, -candidate.priority, candidate.node)


def best(policy: Policy, workload: str, candidates: tuple[Candidate, ...], but: str = "") -> Candidate | None:
    """The eligible candidate that comes first; ties go to the lower id."""
    able = [c for c in candidates if c.eligible and c.node != but]
    return min(able, key=lambda c: _rank(policy, workload, c), default=None)


def decide(policy: Policy, facts: Facts, now: float) -> Command | None:
    """What to propose for this workload now, if anything."""
    placement = facts.placement
    if placement.owner and not facts.lease_over:
        return _of_running(policy, facts, now)
    if placement.asked_to_move and facts.operation is not None:
        return _to_target(policy, facts, facts.operation)
    if placement.owner:
        return _after_loss(policy, facts)
    return _unowned(policy, facts)


def _to_target(policy: Policy, facts: Facts, operation: Operation) -> Command | None:
    """The owner has let go, or is lost: on to where the operation leads, or to the next best."""
    for candidate in facts.candidates:
        if candidate.node == operation.target and candidate.eligible:
            return Grant(operation.workload, candidate.node, operation.cause)
    candidates = facts.candidates
    if facts.paused:
        candidates = tuple(c for c in candidates if c.node == operation.source)
    other = best(policy, operation.workload, candidates)
    if other is None:
        return None
    return Grant(operation.workload, other.node, "rollback", f"{operation.target} became unable to take over")


def _by_itself(policy: Policy, facts: Facts) -> bool:
    """Whether a workload may change its node although no operator asked for it."""
    return policy.automatic and not facts.paused


def _after_loss(policy: Policy, facts: Facts) -> Command | None:
    if not _by_itself(policy, facts):
        return None  # An operator decides: `failover`.
    placement = facts.placement
    heir = best(policy, placement.workload, facts.candidates)
    if heir is None or heir.node == placement.owner:
        return None  # It may simply ask again: nobody else could do better.
    return Grant(placement.workload, heir.node, "failover", f"{placement.owner} is lost")


def _unowned(policy: Policy, facts: Facts) -> Command | None:
    placement = facts.placement
    if spent(placement, policy.max_attempts):
        return _back(policy, facts)
    if not placement.token and not facts.complete:
        return None  # The very first placement waits for the others to appear, and to tell what they could run.
    candidates = facts.candidates
    if placement.released and not _by_itself(policy, facts):
        candidates = tuple(c for c in candidates if c.node == placement.home)
    if placement.released == "restarted":
        # The same machine came back within its lease; among equals it goes on.
        again = [c for c in candidates if c.node == placement.home and c.eligible]
        ahead = best(policy, placement.workload, candidates)
        if again and ahead is not None:
            mine = preference(policy, placement.workload, again[0])
            if mine <= preference(policy, placement.workload, ahead):
                return Grant(placement.workload, again[0].node, "placement", "its machine came back")
    if placement.released == "failed":
        # Not in circles: whoever has not tried it yet comes before whoever could not keep it well.
        fresh = tuple(c for c in candidates if c.eligible and c.node not in placement.failed_on)
        candidates = fresh or candidates
    # Who just gave it up may look able to this leader for a moment longer.
    elsewhere = placement.home if placement.released in ("leaving", "failed") else ""
    chosen = best(policy, placement.workload, candidates, but=elsewhere) or best(policy, placement.workload, candidates)
    if chosen is None:
        return None
    cause = {"leaving": "handover", "failed": "failover"}.get(placement.released, "placement")
    reason = {"leaving": f"{placement.home} leaves", "failed": f"it fails on {placement.home}"}
    return Grant(placement.workload, chosen.node, cause, reason.get(placement.released, ""))


def _back(policy: Policy, facts: Facts) -> Command | None:
    """All tries are spent: once more where it last was well, then it is FAILED and an operator has to look."""
    placement = facts.placement
    home = way_back(placement)
    if not _by_itself(policy, facts) or not any(c.node == home and c.eligible for c in facts.candidates):
        return None
    return Grant(placement.workload, home, "rollback", f"it was well on {home} before it failed elsewhere")


def _of_running(policy: Policy, facts: Facts, now: float) -> Command | None:
    """The owner is well: only a stuck operation, a drain or an automatic failback calls for anything."""
    placement, operation = facts.placement, facts.operation
    if placement.asked_to_move and operation is not None:
        if facts.operation_age_s > policy.timeout_s:
            why = f"{placement.owner} did not stop within {policy.timeout_s:g} s"
            return Abandon(placement.workload, operation.id, why)
        return None
    if facts.drained:
        other = best(policy, placement.workload, facts.candidates, but=placement.owner)
        if other is None:
            return None  # It runs on until somebody else can.
        return Move(placement.workload, placement.token, other.node, "drain", f"{placement.owner} is drained")
    wait = failback_in(policy, facts, now)
    home = failback_target(policy, facts)
    if wait is None or wait > 0 or home is None:
        return None
    return Move(
        placement.workload,
        placement.token,
        home.node,
        "failback",
        f"{home.node} has been well for long enough",
    )


def failback_target(policy: Policy, facts: Facts) -> Candidate | None:
    """The node this workload would rather run on than on its owner; None when it is at its best place."""
    placement = facts.placement
    owner = next((c for c in facts.candidates if c.node == placement.owner), None)
    ahead = best(policy, placement.workload, facts.candidates, but=placement.owner)
    if owner is None or ahead is None:
        return None
    better = preference(policy, placement.workload, ahead) < preference(policy, placement.workload, owner)
    return ahead if better else None


def failback_in(policy: Policy, facts: Facts, now: float) -> float | None:
    """Seconds until the automatic failback; None when there is none to come."""
    placement = facts.placement
    if not _by_itself(policy, facts) or placement.failback_cancelled or not placement.started or placement.moving:
        return None
    home = failback_target(policy, facts)
    if home is None:
        return None
    lately = [at for at in facts.moved_at if now - at < HOUR_S]
    wait = hold_down(policy.recovery_wait_s, len(lately)) - home.reachable_s
    if lately:
        wait = max(wait, policy.recovery_wait_s - (now - lately[-1]))
    if len(lately) >= MOVES_PER_HOUR_MAX:
        wait = max(wait, lately[-MOVES_PER_HOUR_MAX] + HOUR_S - now)
    return max(0.0, wait)


def hold_down(first_s: float, flaps: int) -> float:
    """How long a node must have been well: doubled with every change of place in the last hour but the first."""
    return float(min(first_s * 2 ** max(0, flaps - 1), HOLD_DOWN_MAX_S))
