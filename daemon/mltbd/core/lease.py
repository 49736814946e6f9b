"""The workload lease, both ends of it: until when an owner may run, and from when another node may.

The owner counts from the moment it *asked*, the leader from the moment anybody may last have been confirmed; so
whatever the network does in between, the owner's end comes first. Proof and arithmetic: DESIGN.md, "The lease".
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mltb_transport.messages import Renew, Renewed
from mltbd.core.leadership import Leadership
from mltbd.core.timing import Timing
from mltbd.state.placements import Placement

NONCES_MAX = 64


def deadline(asked_at: float, timing: Timing) -> float:
    """Until when the owner may run: counted from before the request left, never from when the answer came."""
    return asked_at + timing.hold_s


def lease_of(placement: Placement, timing: Timing) -> float:
    """L_v of this placement: that of the leader which granted it. Nodes may be configured differently, for ever or
    while an operator goes from one to the next; owner and leader must not count with two leases."""
    return placement.lease_s or float(timing.lease_s)


def may_pass_at(reign: Leadership, renewed_at: float, lease_s: float) -> float:
    """From when a placement may pass to another node: whoever ran it under any leader has stopped by then.

    A renewal confirmed by an earlier leader was acknowledged by a voter that elected us, at the latest `age_min`
    before we won. One confirmed by us began after we received its request, at `renewed_at`.
    """
    return max(reign.won_at - reign.age_min, renewed_at) + lease_s


class Renewals:
    """The leader's memory of requests it may have confirmed, for one reign."""

    def __init__(self) -> None:
        self._renewed_at: dict[str, float] = {}

    def note(self, workload: str, now: float) -> None:
        """A round that may confirm a request for `workload` begins now, or it was just granted."""
        self._renewed_at[workload] = now

    def at(self, workload: str) -> float:
        return self._renewed_at.get(workload, float("-inf"))


@dataclass(slots=True)
class Hold:
    """This node's claim on one workload under one token."""

    token: int
    until: float = float("-inf")  # the guard's deadline
    ask_at: float = float("-inf")  # when to ask next
    asked: dict[int, float] = field(default_factory=dict)  # nonce -> when we asked
    over: str = ""  # why it is, as a leader told; the log may bring it only later
    lease_s: float = 0.0  # of the placement, as a leader told; 0: not yet
    stop_at: float | None = None  # when the planned stop of what ran under it began

    def renew(self, workload: str, nonce: int, now: float, timing: Timing) -> Renew:
        """The request to send; `now` was read before it leaves. `timing` is this node's."""
        self.asked[nonce] = now
        while len(self.asked) > NONCES_MAX:
            del self.asked[next(iter(self.asked))]
        self.ask_at = now + timing.within(self.lease_s).renew_s
        return Renew(workload, self.token, nonce)

    def renewed(self, answer: Renewed, timing: Timing) -> bool:
        """Whether the answer moved the deadline. `timing` is this node's."""
        asked_at = self.asked.pop(answer.nonce, None)
        if asked_at is None or answer.token != self.token or not answer.ok:
            return False  # Not ours, or answered already: the network repeats itself.
        self.lease_s = answer.lease_s
        within = timing.within(self.lease_s)
        self.ask_at = min(self.ask_at, asked_at + within.renew_s)
        end = deadline(asked_at, within)
        if end <= self.until:
            return False
        self.until = end
        return True
