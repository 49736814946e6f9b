"""When the voters may change, and which change is due. Source: Raft, section 4.1 of the dissertation, with the rule of
2015: a leader first commits an entry of its own term. Sets of voters are maps of id -> store (DESIGN.md, "Voters")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mltb_transport.voters import ChangeVoters, Voter
from mltbd.core import quorum

VOTERS_MAX = 7
GROWN_MAX = 3
"""Voters a cluster grows to by itself. An operator may promote more, up to VOTERS_MAX."""
VOTING_ROLES = ("voter", "witness")
CAUGHT_UP = 64
"""Entries a node may lag and still become a voter."""
PROVEN_S = 5.0
"""How long a node must have answered without a break before it is made a voter by itself."""


@dataclass(frozen=True, slots=True)
class Follower:
    """A node that replicates, as the leader knows it. Empty `store`: it has not answered yet."""

    node: str
    store: str
    role: str
    priority: int
    behind: int
    answers: bool
    answering_s: float  # without a break
    leaving: bool = False
    knows_voters: bool = True  # it holds the last change of the voters
    speaks_level: bool = True  # of the cluster

    def unfit(self) -> str:
        """Why it cannot become a voter now; empty when it can."""
        if self.role not in VOTING_ROLES:
            return f"its CLUSTER_ROLE is {self.role}"
        if self.leaving:
            return "it is leaving"
        if not self.answers or not self.store:
            return "it does not answer"
        if self.behind > CAUGHT_UP:
            return f"it is {self.behind} entries behind"
        if not self.knows_voters:
            return "it has not heard of the last change of the voters"
        if not self.speaks_level:
            return "it does not speak the protocol level of the cluster"
        return ""


def differs(before: Mapping[str, str], after: Mapping[str, str]) -> int:
    """How many voters were added or taken away. Another disk is another voter: that counts as two."""
    return len(set(before.items()) ^ set(after.items()))


def may_change(before: Mapping[str, str], after: Mapping[str, str]) -> bool:
    """One at a time: any majority of the one set meets any majority of the other."""
    return 1 <= len(after) <= VOTERS_MAX and differs(before, after) <= 1


def with_voter(voters: Mapping[str, str], node: str, store: str) -> tuple[Voter, ...]:
    return as_voters({**voters, node: store})


def without_voter(voters: Mapping[str, str], node: str) -> tuple[Voter, ...]:
    return as_voters({name: store for name, store in voters.items() if name != node})


def as_voters(voters: Mapping[str, str]) -> tuple[Voter, ...]:
    return tuple(Voter(node, store) for node, store in sorted(voters.items()))


@dataclass(frozen=True, slots=True)
class Sum:
    """The arithmetic of one set of voters, for people and for the rule that nothing may cost the quorum."""

    voters: int
    needed: int
    answering: int

    @property
    def holds(self) -> bool:
        return bool(self.voters) and self.answering >= self.needed

    @property
    def tolerance(self) -> int:
        return max(0, self.answering - self.needed)

    def words(self) -> str:
        return f"{self.answering} of {self.voters} voters answer, {self.needed} needed"


def sum_of(voters: Mapping[str, str], answering: Mapping[str, str], quorum_size: int) -> Sum:
    """`answering`: id -> store of who answers now, the leader included. A wiped voter answers, and does not count."""
    present = sum(answering.get(node) == store for node, store in voters.items())
    return Sum(len(voters), quorum.needed(len(voters), quorum_size), present)


def due(
    voters: Mapping[str, str], followers: tuple[Follower, ...], answering: Mapping[str, str], quorum_size: int
) -> ChangeVoters | None:
    """The change the leader makes by itself now, if any: first a lost disk leaves, then the best observer joins."""
    for follower in followers:
        agreed = voters.get(follower.node)
        if agreed is None or agreed == follower.store or follower.unfit():
            continue
        rest = {node: store for node, store in voters.items() if node != follower.node}
        if sum_of(rest, answering, quorum_size).holds:
            return ChangeVoters(as_voters(rest), "lost", follower.node, agreed, "it came back with another disk")
    able = [f for f in followers if f.node not in voters and not f.unfit() and f.answering_s >= PROVEN_S]
    able.sort(key=lambda f: (-f.priority, f.node))
    missing = _missing(len(voters))
    if not missing or len(able) < missing:
        return None
    best = able[0]
    return ChangeVoters(with_voter(voters, best.node, best.store), "promoted", best.node, best.store)


def _missing(voters: int) -> int:
    """How many to add until their number is odd and worth it; 0 when it is well as it is.

    An even voter adds a way to lose quorum and no tolerance: one more joins only together with its like.
    """
    if voters % 2 == 0:
        return 1 if voters < VOTERS_MAX else 0
    return 2 if voters < GROWN_MAX else 0
