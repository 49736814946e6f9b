"""How a node leaves: it hands over what it runs, then leadership, and waits for neither longer than it was told."""

from __future__ import annotations

from mltbd.core.consensus import Consensus
from mltbd.core.effects import Leave
from mltbd.core.outbox import Outbox
from mltbd.core.owner import Owner
from mltbd.core.placer import Placer
from mltbd.core.voting import LEADER

HAND_OVER_S = 1.5


class Farewell:
    """`begin` once; `go_on` after every event, until the process may end."""

    def __init__(self, patience_s: float, owner: Owner, consensus: Consensus, placer: Placer, out: Outbox) -> None:
        """`patience_s`: what stopping its workloads may take, and the moves after it."""
        self.left = False
        self._patience_s = patience_s
        self._owner = owner
        self._consensus = consensus
        self._placer = placer
        self._out = out
        self._leave_by = float("inf")
        self._hand_over_by = float("inf")

    def begin(self, now: float) -> None:
        if self._owner.leaving:
            return
        self._owner.leaving = True
        self._leave_by = now + self._patience_s
        self._out.note("info", "leaving: hands over what it runs")

    def next_deadline(self, now: float) -> float:
        # Over: no need to be woken for.
        return min(self._leave_by, self._hand_over_by if self._hand_over_by > now else float("inf"))

    def go_on(self, now: float) -> None:
        """Leave once all is done, or nothing more can be."""
        if not self._owner.leaving or self.left:
            return
        if self._consensus.role == LEADER and self._owner.idle():
            if self._hand_over_by == float("inf"):
                self._hand_over_by = now + HAND_OVER_S
            if now < self._hand_over_by and self._placer.hand_over(now):
                return
        # Without a leader nobody can take the tokens back; a later incarnation will.
        alone = not self._consensus.leader and now - self._consensus.heard_at > self._consensus.silence_s
        if self._owner.idle() or now >= self._leave_by or (alone and not self._owner.running()):
            self._leave_by = self._hand_over_by = float("inf")
            self.left = True
            self._out.put(Leave())
