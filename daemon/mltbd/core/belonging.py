"""Whether this node is a member still, and whom it must not take for one: what follows from removals on every node."""

from __future__ import annotations

from mltb_transport.voters import ChangeVoters, Removed
from mltbd.core.consensus import Consensus
from mltbd.core.membership import Membership
from mltbd.core.outbox import Outbox
from mltbd.state.machine import State
from mltbd.state.removals import Removals


class Belonging:
    """Our own log says so, or another node tells us: the entry that took us out may never reach us."""

    def __init__(self, state: State, consensus: Consensus, membership: Membership, out: Outbox) -> None:
        self._me = consensus.me
        self._state = state
        self._consensus = consensus
        self._membership = membership
        self._out = out
        self._told = False
        self._seen: tuple[Removals, tuple[tuple[str, str], ...]] = (state.removals, ())

    @property
    def removed(self) -> bool:
        """This node, with this disk, was taken out of its cluster."""
        return self._told or self._state.removals.has(self._me, self._consensus.store)

    def told(self, message: Removed, now: float) -> None:
        us = (self._consensus.log.cluster, self._me, self._consensus.store)
        if (message.cluster, message.node, message.store) == us and not (self.removed or self._knows_better(message)):
            self._told = True
            self._leave(now)

    def _knows_better(self, message: Removed) -> bool:
        """Our log holds our admission behind that removal, or a snapshot does that reaches beyond it.

        Nobody needs us before we know: a node is made a voter only once it holds the last change of the voters.
        """
        log = self._consensus.log
        later = (entry.command for entry in log.after(message.index))
        admitted = any(isinstance(c, ChangeVoters) and c.cause == "admitted" and c.node == self._me for c in later)
        return admitted or message.index <= log.covered

    def replicated_to(self) -> None:
        """A leader speaks to us: we are a member, or shall soon be told again that we are not."""
        self._told = False
        self._consensus.expelled = self.removed

    def look(self, now: float) -> None:
        """After entries were applied, or a snapshot was taken over."""
        seen = (self._state.removals, tuple(self._state.removals.removed))
        if seen == self._seen:
            return
        self._seen = seen
        self._membership.refusals.become(self._state.removals.removed)
        self._consensus.expelled = self.removed
        if self.removed:
            self._leave(now)

    def _leave(self, now: float) -> None:
        self._out.note("error", "this node was removed from its cluster: wipe its disk, or let it in again")
        self._consensus.expel(now)
