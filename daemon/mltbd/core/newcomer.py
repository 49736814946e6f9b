"""What a disk must not take for its own: placements that were granted to an earlier disk of its name.

The earlier one may have given such a token back in a message that is still on its way, and answers to its requests may
be, too. So before it can be given anything a disk that may have a predecessor asks a leader how far the log had come,
as a read does: every token that an earlier disk can have known lies before that. What is found there goes back, and is
granted anew. A run that ends before it was told leaves nothing behind but part of a log, so the next one asks as well.
"""

from __future__ import annotations

from mltb_transport.messages import Founding
from mltb_transport.store import Forward, Forwarded
from mltb_transport.voters import Voter
from mltbd.core.consensus import Consensus
from mltbd.core.outbox import Outbox
from mltbd.core.owner import Owner
from mltbd.core.ports import Entropy

NUMBERS_FROM = 1 << 60
"""Beyond those of the shell's reads."""
NUMBERS = 1 << 50


class Newcomer:
    """`work` after every event; idle, and for ever, once it is known where our time begins."""

    def __init__(self, owner: Owner, consensus: Consensus, out: Outbox, entropy: Entropy) -> None:
        self._owner = owner
        self._consensus = consensus
        self._out = out
        self._entropy = entropy
        self._number = -1
        self._leader = ""
        self._ask_at = float("-inf")

    def next_deadline(self) -> float:
        asked = self._leader not in ("", self._consensus.me)
        return self._ask_at if self._owner.is_untold and asked else float("inf")

    def work(self, now: float) -> None:
        if not self._owner.is_untold:
            return
        known = self._known
        if known is not None:
            self._owner.begins_after(known)
            return
        if self._consensus.in_charge:
            # It was admitted, given the log, and elected: all that was committed before that is in what it has.
            self._owner.begins_after(self._consensus.commit)
            return
        leader = self._consensus.leader
        if leader == self._leader and now < self._ask_at:
            return
        self._leader = leader
        if leader in ("", self._consensus.me):
            return
        # Drawn, not counted: what was answered to an earlier disk must not answer this one.
        self._number = NUMBERS_FROM + int(self._entropy.uniform(0, NUMBERS))
        self._ask_at = now + self._consensus.timing.election_s
        self._out.send(leader, Forward(self._number, ()))

    def told(self, message: Forwarded) -> bool:
        """Whether this answers us."""
        if message.number != self._number:
            return False
        if not message.code and self._owner.is_untold:
            self._owner.begins_after(message.index)
        return True

    @property
    def _known(self) -> int | None:
        """Where our time begins, as our own log says: there is no earlier disk than one that the founding names, and
        one that a snapshot names as a voter was made one when the earlier was gone."""
        log, us = self._consensus.log, Voter(self._consensus.me, self._consensus.store)
        first = log.entry(1).command if log.holds(1) else None
        if isinstance(first, Founding) and us in first.voters:
            return 0
        return log.covered if log.snapshot is not None and us in log.snapshot.voters else None
