"""What an owner asks of the leader, carried there: to ourselves, to whom we know, or to every voter."""

from __future__ import annotations

from mltb_transport.messages import Propose, Renew
from mltb_transport.store import Forward, Forwarded
from mltbd.core.consensus import Consensus
from mltbd.core.newcomer import Newcomer
from mltbd.core.outbox import Outbox
from mltbd.core.owner import Owner
from mltbd.core.placer import Placer
from mltbd.core.ports import Entropy


class Errands:
    """Requests that are lost are the owner's to repeat."""

    def __init__(self, consensus: Consensus, owner: Owner, placer: Placer, out: Outbox, entropy: Entropy) -> None:
        self._consensus = consensus
        self._owner = owner
        self._placer = placer
        self._out = out
        self._newcomer = Newcomer(owner, consensus, out, entropy)

    def next_deadline(self) -> float:
        return self._newcomer.next_deadline()

    def told(self, message: Forward | Forwarded) -> bool:
        """Whether this is the leader's answer to a question of ours."""
        return isinstance(message, Forwarded) and self._newcomer.told(message)

    def carry(self, now: float, wall: int) -> bool:
        """Everything the owner wants now. Whether any of it reached a leader here."""
        self._newcomer.work(now)
        consensus = self._consensus
        requests = self._owner.requests()
        for request in requests:
            if consensus.reign is not None:
                if isinstance(request, Renew):
                    self._placer.renew(consensus.me, request, now, wall)
                else:
                    self._placer.suggested(consensus.me, request, now, wall)
                continue
            if not consensus.leader:
                self.hurry(now)
            message = request if isinstance(request, Renew) else Propose(request)
            for node in [consensus.leader] if consensus.leader else sorted(consensus.voters):
                if node != consensus.me:
                    self._out.send(node, message)
        return bool(requests) and consensus.reign is not None

    def hurry(self, now: float) -> None:
        """No leader is known: each moment of the old lease counts."""
        self._owner.ask_again(now + self._consensus.timing.renew_s / 8)
