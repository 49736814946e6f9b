"""What this node tells of itself by gossip: kept true after every event, published when it changed."""

from __future__ import annotations

from mltbd.core.consensus import Consensus
from mltbd.core.effects import Effect
from mltbd.core.health import NODE
from mltbd.core.membership import Membership
from mltbd.core.owner import Owner
from mltbd.state.machine import State

TROUBLES_TOLD_MAX = 8


class Presence:
    """Our own gossip record, drawn from what the rest of the node knows."""

    def __init__(self, consensus: Consensus, owner: Owner, membership: Membership, state: State) -> None:
        self._consensus = consensus
        self._owner = owner
        self._membership = membership
        self._state = state
        self._shown: tuple[object, ...] = ()

    def show(self, now: float, *, always: bool = False) -> list[Effect]:
        """Bring the record up to date; `always`: although nothing worth publishing changed."""
        owner, term, leader = self._owner, self._consensus.term, self._consensus.leader
        ready = owner.ready(now)
        health = owner.health
        runs = tuple((w.state, w.pid, w.token, w.restarts, health.of(w.name)) for w in owner.workloads.values())
        troubles = health.troubles(NODE)[:TROUBLES_TOLD_MAX]
        shown = (term, leader, ready, runs, owner.leaving, bool(self._state.applied), troubles)
        if shown == self._shown and not always:
            return []
        self._shown = shown
        joined = bool(self._state.applied) and bool(leader)
        state = "DEGRADED" if troubles else "ACTIVE"
        state = "LEAVING" if owner.leaving else state if joined else self._membership.own.state
        troubled = bool(troubles) or any(w.state in ("FAILED", "BACKOFF") for w in owner.workloads.values())
        return self._membership.update_own(
            now, state=state, health="DEGRADED" if troubled else "HEALTHY", term=term, leader=leader,
            applied=self._state.applied, ready=ready, workloads=owner.views(now), troubles=troubles,
        )  # fmt: skip
