"""How a cluster begins: one designated founder, nobody who knows a cluster already, every disk before any vote."""

from __future__ import annotations

from dataclasses import dataclass

from mltb_transport.messages import Entry, Founding, Record, Voter
from mltbd.core.election import rank

VOTERS_MAX = 7
FOUNDING_TERM = 1
PATIENCE_S = 5.0
"""How long the founder, with enough nodes present, still waits for the seeds it was told of."""
ASK_AGAIN_S = 0.3
VOTING_ROLES = ("voter", "witness")


@dataclass(frozen=True, slots=True)
class Founder:
    """What the configuration says about founding."""

    designated: bool
    min_nodes: int
    expected: int  # this node and the seeds it was told of


def voters_of(me: str, present: list[Record]) -> tuple[Voter, ...]:
    """The first voters: the founder and the highest-ranked of the others; an odd number, or two."""
    able = [record for record in present if record.role in VOTING_ROLES]
    able.sort(key=lambda record: (record.node != me, -record.priority, record.node))
    count = min(len(able), VOTERS_MAX)
    if count > 2 and count % 2 == 0:
        count -= 1  # An even voter adds a way to lose quorum and no tolerance; it observes.
    return tuple(Voter(record.node, record.store) for record in sorted(able[:count], key=lambda r: r.node))


class FoundingWatch:
    """Decides when the founder founds. Gossip feeds it; it never acts on a node that knows a cluster."""

    def __init__(self, me: Record, founder: Founder) -> None:
        self._me = me
        self._founder = founder
        self._enough_since: float | None = None

    def ripe(self, present: list[Record], now: float) -> bool:
        """Whether to found now, with exactly the nodes `present` (this one included)."""
        if not self._founder.designated or any(record.cluster for record in present):
            return False
        able = [record for record in present if record.role in VOTING_ROLES]
        if len(able) < max(1, self._founder.min_nodes):
            self._enough_since = None
            return False
        rivals = {r.node: r.priority for r in able if r.founder and r.node != self._me.node}
        if rank(self._me.node, self._me.priority, rivals):
            return False  # Several were designated; the first of them founds.
        if self._enough_since is None:
            self._enough_since = now
        return len(present) >= self._founder.expected or now - self._enough_since >= PATIENCE_S

    def why_not(self, present: list[Record]) -> str:
        """What an operator should know while there is no cluster yet."""
        if not self._founder.designated:
            return "waiting for the founder: exactly one node needs CLUSTER_BOOTSTRAP=True"
        able = sum(record.role in VOTING_ROLES for record in present)
        return f"waiting for nodes: {able} of {max(1, self._founder.min_nodes)} have met"


def founding_entry(cluster: str, name: str, voters: tuple[Voter, ...], wall: int) -> Entry:
    return Entry(1, FOUNDING_TERM, wall, Founding(cluster, name, voters))
