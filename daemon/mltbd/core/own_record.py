"""Keeps what this node says of itself in gossip true."""

from __future__ import annotations

from mltbd.core.consensus import Consensus
from mltbd.core.health import NODE
from mltbd.core.membership import Membership
from mltbd.core.outbox import Outbox
from mltbd.core.owner import Owner
from mltbd.state.machine import State

TROUBLES_TOLD_MAX = 8


class OwnRecord:
    """What others read of us is a hint to them; it still has to be right soon after it changed."""

    def __init__(self, consensus: Consensus, membership: Membership, owner: Owner, state: State, out: Outbox) -> None:
        self._consensus = consensus
        self._membership = membership
        self._owner = owner
        self._state = state
        self._out = out
        self._shown: tuple[object, ...] = ()

    def show(self, now: float, *, always: bool = False) -> None:
        """Say what has changed; `always`: also when nothing that matters has."""
        leader, owner = self._consensus.leader, self._owner
        ready = owner.ready(now)
        health = owner.health
        runs = tuple((w.state, w.pid, w.token, w.restarts, health.of(w.name)) for w in owner.workloads.values())
        troubles = health.troubles(NODE)[:TROUBLES_TOLD_MAX]
        shown = (self._consensus.term, leader, ready, runs, owner.leaving, bool(self._state.applied), troubles)
        if shown == self._shown and not always:
            return
        self._shown = shown
        joined = bool(self._state.applied) and bool(leader)
        state = "DEGRADED" if troubles else "ACTIVE"
        state = "LEAVING" if owner.leaving else state if joined else self._membership.own.state
        troubled = bool(troubles) or any(w.state in ("FAILED", "BACKOFF") for w in owner.workloads.values())
        effects = self._membership.update_own(
            now, state=state, health="DEGRADED" if troubled else "HEALTHY", term=self._consensus.term, leader=leader,
            applied=self._state.applied, ready=ready, workloads=owner.views(now), troubles=troubles,
        )  # fmt: skip
        for effect in effects:
            self._out.put(effect)
