"""How a cluster begins: one designated founder, nobody who knows a cluster already, every disk before any vote."""

from __future__ import annotations

from dataclasses import dataclass

from mltb_transport.messages import Entry, Found, Founded, Founding
from mltb_transport.records import Record
from mltb_transport.voters import Voter
from mltbd.core.consensus import Consensus
from mltbd.core.election import rank
from mltbd.core.level_rules import Speaks
from mltbd.core.outbox import Outbox
from mltbd.core.voter_rules import VOTERS_MAX, VOTING_ROLES

FOUNDING_TERM = 1
PATIENCE_S = 5.0
"""How long the founder, with enough nodes present, still waits for the seeds it was told of."""
ASK_AGAIN_S = 0.3


@dataclass(frozen=True, slots=True)
class Founder:
    """What the configuration says about founding."""

    designated: bool
    min_nodes: int  # from 1
    expected: int  # this node and the seeds it was told of


def voters_of(me: str, present: list[Record]) -> tuple[Voter, ...]:
    """The first voters: the founder and the highest-ranked of the others; an odd number, or two."""
    able = [record for record in present if record.role in VOTING_ROLES]
    able.sort(key=lambda record: (record.node != me, -record.priority, record.node))
    count = min(len(able), VOTERS_MAX)
    if count > 2 and count % 2 == 0:
        count -= 1  # An even voter adds a way to lose quorum and no tolerance; it observes.
    return tuple(Voter(record.node, record.store) for record in sorted(able[:count], key=lambda r: r.node))


def level_for(present: list[Record], ours: Speaks) -> int:
    """The level to begin at: the lowest that all present speak. It rises by itself, and never falls."""
    return min(ours.newest, max([ours.oldest, *(record.oldest for record in present)]))


class FoundingWatch:
    """Decides when the founder founds. Gossip feeds it; it never acts on a node that knows a cluster."""

    def __init__(self, me: Record, founder: Founder) -> None:
        self._me = me
        self._founder = founder
        self._enough_since: float | None = None

    @property
    def designated(self) -> bool:
        return self._founder.designated

    def ripe(self, present: list[Record], now: float) -> bool:
        """Whether to found now, with exactly the nodes `present` (this one included)."""
        if not self._founder.designated or any(record.cluster for record in present):
            return False
        able = [record for record in present if record.role in VOTING_ROLES]
        if len(able) < self._founder.min_nodes:
            self._enough_since = None
            return False
        rivals = {r.node: r.priority for r in able if r.founder and r.node != self._me.node}
        if rank(self._me.node, self._me.priority, rivals):
            return False  # Several were designated; the first of them founds.
        if self._enough_since is None:
            self._enough_since = now
        return len(present) >= self._founder.expected or now - self._enough_since >= PATIENCE_S

    def why_not(self, present: list[Record]) -> str:
        """What an operator should know while this node belongs to no cluster."""
        members = [record.node for record in present if record.cluster]
        if members:
            return f"waiting for the leader of the cluster of {' '.join(sorted(members))}"
        if not self._founder.designated:
            return "waiting for the founder: exactly one node needs CLUSTER_BOOTSTRAP=True"
        able = sum(record.role in VOTING_ROLES for record in present)
        return f"waiting for nodes: {able} of {self._founder.min_nodes} have met"


class FoundingDesk:
    """Founds, spreads the founding entry until a leader takes over, and answers founders of others."""

    def __init__(self, watch: FoundingWatch, consensus: Consensus, out: Outbox, cluster: str, name: str) -> None:
        self.watch = watch
        self._consensus = consensus
        self._out = out
        self._identity = (cluster, name)  # of the cluster this node would found
        self._confirmed: set[str] = set()
        self._look_at = float("inf")

    def start(self, now: float) -> None:
        """Also after a restart: an earlier run may have ended between founding and telling the voters."""
        if self.watch.designated:
            self._look_at = now

    def next_deadline(self) -> float:
        return self._look_at

    def tick(self, present: list[Record], now: float, wall: int) -> None:
        """`present`: the members within reach, this node included."""
        self._look_at = now + ASK_AGAIN_S
        if not self._consensus.log.last_index and self.watch.ripe(present, now):
            self._found(voters_of(self._consensus.me, present), level_for(present, self._consensus.speaks), wall)
        if self._consensus.log.last_index:
            self._spread()

    def _found(self, voters: tuple[Voter, ...], level: int, wall: int) -> None:
        cluster, name = self._identity
        self._out.note("info", f"founds cluster {cluster} with {' '.join(voter.node for voter in voters)}")
        self._consensus.found(Entry(1, FOUNDING_TERM, wall, Founding(cluster, name, voters, level)))

    def _spread(self) -> None:
        missing = [v for v in self._consensus.voters if v != self._consensus.me and v not in self._confirmed]
        if self._consensus.commit or not missing or not self._consensus.log.holds(1):
            self._look_at = float("inf")  # From here on a leader brings the log to whoever lacks it.
            return
        for node in missing:
            self._out.send_when_saved(node, Found(self._consensus.log.entry(1)))

    def asked_to_join(self, founder: str, entry: Entry) -> None:
        """Take over a founding entry if we have no log; confirm it once it is on disk.

        It must name this very disk. A founder that was left behind still asks for an earlier one of our name, and its
        cluster is not to be ours for ever: the log we need, a leader brings.
        """
        if not isinstance(entry.command, Founding) or entry.index != 1:
            return
        ours = self._names_us(entry.command) and self._consensus.speaks.has(entry.command.level)
        if not self._consensus.log.last_index and ours:
            self._consensus.found(entry)
        log = self._consensus.log
        if log.entry(1) == entry if log.holds(1) else log.cluster == entry.command.cluster:
            self._out.send_when_saved(founder, Founded(entry.command.cluster))

    def _names_us(self, founding: Founding) -> bool:
        return Voter(self._consensus.me, self._consensus.store) in founding.voters

    def joined(self, node: str, cluster: str) -> None:
        if cluster == self._consensus.log.cluster:
            self._confirmed.add(node)
