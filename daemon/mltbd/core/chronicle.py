"""The leader's stopwatch: how long each step of a change took, told to all nodes inside the entries themselves.

Only the leader can measure it, by its own monotonic clock; nothing is decided by it.
"""

from __future__ import annotations

from dataclasses import replace

from mltb_transport.history import Phase
from mltb_transport.messages import Abandon, Command, Entry, Grant, Move, NoOp, Release, Started
from mltbd.core.describe import choice
from mltbd.core.election import TRANSFER, Tally
from mltbd.core.failover import Facts, Policy
from mltbd.core.leadership import Leadership
from mltbd.core.lease import lease_of, may_pass_at
from mltbd.core.timing import Timing
from mltbd.state.placements import WORKLOADS_MAX

MARKS_MAX = 3 * WORKLOADS_MAX
"""Of each workload one move, one release and one grant. The oldest go first: their workload is no more."""
FOUNDED = 1
"""The index of the founding entry."""


def first_entry(reign: Leadership, tally: Tally, *, doubted: bool, reborn: bool) -> NoOp:
    """The no-op of a new reign, with the story of its election. `reborn`: we have heard no leader since we began."""
    reborn &= reign.first_index > FOUNDED + 1  # Before the first reign there was nobody to hear.
    cause = "transfer" if tally.stage == TRANSFER else "broken" if doubted else "restart" if reborn else "silence"
    steps = [("election", reign.election_s)]
    if cause == "transfer":
        steps.insert(0, ("detect", 0.0))
    elif _remembered(reign):
        steps.insert(0, ("detect", reign.age_min - reign.election_s))
    return NoOp(reign.me, cause, tuple(sorted(tally.ages)), _told(*steps))


def _remembered(reign: Leadership) -> bool:
    """Whether our voters know when they last heard a leader: who began anew since says 0, which measures nothing."""
    return reign.age_min > 0


class Chronicle:
    """Moments of one reign, by what happened and to which workload."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._at: dict[tuple[str, str], float] = {}
        self._began_at = float("-inf")  # when the first entry of the present reign was applied

    def forget(self) -> None:
        """Another reign: what an earlier leader saw is not ours to tell."""
        self._at.clear()

    def applied(self, entry: Entry, now: float, *, refused: bool = False) -> None:
        """`refused`: it was to move a workload, and came to nothing."""
        match entry.command:
            case NoOp(leader) if leader:
                # What was applied up to here happened long before: a leader that begins anew applies its whole log.
                self.forget()
                self._began_at = now
            case Move(workload) if not refused:
                self._mark("move", workload, now)
            case Abandon(workload):
                self._at.pop(("move", workload), None)
            case Started(workload):
                self._at.pop(("grant", workload), None)
            case Release(workload):
                self._mark("release", workload, now)
            case _:
                pass

    def reported(self, command: Command, now: float) -> Command:
        """An owner's report, with what we measured; of a stop that nobody asked us for, what the owner did."""
        match command:
            case Started(workload):
                return replace(command, took_s=self._since("grant", workload, now))
            case Release(workload):
                return replace(command, took_s=self._since("move", workload, now) or command.took_s)
        return command

    def granted(
        self, command: Grant, facts: Facts, policy: Policy, reign: Leadership, renewed_at: float, now: float
    ) -> Grant:
        """The grant about to be proposed, with why this node, and what led up to it."""
        workload = command.workload
        if facts.placement.owner:
            phases = self._loss(facts, reign, renewed_at, now)
        elif ("release", workload) in self._at:
            phases = _told(("grant", self._since("release", workload, now)))
        else:
            phases = ()
        self._at.pop(("move", workload), None)
        self._at.pop(("release", workload), None)
        self._mark("grant", workload, now)
        return replace(command, choice=choice(policy, facts, command), phases=phases)

    def _loss(self, facts: Facts, reign: Leadership, renewed_at: float, now: float) -> tuple[Phase, ...]:
        """From the last sign of life of the owner until now, without gaps; without `detect` where nobody knows it."""
        placement = facts.placement
        lease_s = lease_of(placement, self._timing)
        pass_at = may_pass_at(reign, renewed_at, lease_s)
        steps: list[tuple[str, float]] = []
        if renewed_at <= max(reign.won_at, self._began_at):
            # It was lost with the leader before us: what we know of it, we know from our voters.
            noticed_at = reign.won_at
            stood_at = noticed_at - reign.election_s
            if _remembered(reign):
                steps.append(("detect", stood_at - min(reign.won_at - reign.age_min, stood_at)))
            steps.append(("election", reign.election_s))
        else:
            heard_at = pass_at - lease_s
            peer = reign.peers.get(placement.owner)
            silent_at = (pass_at if peer is None else peer.acked_at) + 2 * self._timing.election_s
            noticed_at = min(max(silent_at, heard_at), pass_at)
            steps.append(("detect", noticed_at - heard_at))
        over_at = max(pass_at, noticed_at)
        steps.append(("lease", over_at - noticed_at))
        ordered_at = self._at.get(("move", placement.workload), over_at)
        if ordered_at > over_at:
            steps.append(("order", ordered_at - over_at))
        steps.append(("grant", now - max(over_at, ordered_at)))
        return _told(*steps)

    def _mark(self, what: str, workload: str, now: float) -> None:
        self._at.pop((what, workload), None)
        self._at[what, workload] = now
        if len(self._at) > MARKS_MAX:
            del self._at[next(iter(self._at))]

    def _since(self, what: str, workload: str, now: float) -> float:
        began = self._at.get((what, workload))
        return 0.0 if began is None else round(now - began, 4)


def repeats(command: Command, earlier: Command) -> bool:
    """Whether a report says what an earlier one says, whatever was measured on the way."""
    if isinstance(earlier, Started | Release):
        earlier = replace(earlier, took_s=0.0)
    if isinstance(command, Started | Release):
        command = replace(command, took_s=0.0)
    return command == earlier


def _told(*steps: tuple[str, float]) -> tuple[Phase, ...]:
    return tuple(Phase(name, round(max(0.0, seconds), 4)) for name, seconds in steps)
