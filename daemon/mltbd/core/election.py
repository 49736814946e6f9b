"""Who may lead, and in which term: the rule for a vote, and the count of one election. Source: Raft, sections 3.4,
4.2.3 and 9.6 of the dissertation; the bully order by priority is a delay, never a veto (DESIGN.md, "Election")."""

from __future__ import annotations

from dataclasses import dataclass, field

from mltb_transport.messages import Answer, Election
from mltbd.core import quorum

PROBE, PRE, VOTE, TRANSFER = "probe", "pre", "vote", "transfer"


@dataclass(frozen=True, slots=True)
class Ballot:
    """What a voter knows when it is asked."""

    term: int
    vote: str
    last_term: int
    last_index: int
    leader_alive: bool  # it heard a leader of this term within the election timeout
    is_wiped: bool  # as far as we know, the voter of our name has another disk: its vote is lost, not ours to give
    campaigns: bool = False  # it asks for votes itself, and its attempt is not over


def refusal(candidate: str, asked: Election, mine: Ballot) -> str:
    """Why the vote is refused; empty when it is granted. This is the whole rule; priority has no part in it.

    Whether either of us is a voter is not asked: our log may not know yet. The candidate counts by its own log.
    """
    if mine.is_wiped:
        return "my disk is not the voter's"
    if asked.term < mine.term or (asked.term == mine.term and asked.stage in (PROBE, PRE)):
        return f"term {asked.term} is over"
    if mine.leader_alive and asked.stage in (PRE, VOTE):
        return "the leader is alive"
    if (
        mine.campaigns
        and asked.stage == PRE
        and (asked.last_term, asked.last_index) <= (mine.last_term, mine.last_index)
    ):
        return "I ask for votes myself"  # Who knows more would not vote for us, so it need not wait for us.
    if asked.term == mine.term and mine.vote not in ("", candidate):
        return f"I voted for {mine.vote}"
    if (asked.last_term, asked.last_index) < (mine.last_term, mine.last_index):
        return "its log is behind mine"
    return ""


@dataclass(slots=True)
class Tally:
    """One election as the candidate counts it. The first yes of a voter stands."""

    term: int
    stage: str
    voters: dict[str, str]  # id -> store
    quorum_size: int
    ages: dict[str, float] = field(default_factory=dict)  # of those who granted
    denied: set[str] = field(default_factory=set)  # who refused in this very term, and so for all of it

    def count(self, voter: str, answer: Answer) -> None:
        if answer.stage != self.stage:
            return  # Of an earlier stage of this candidacy.
        if self.voters.get(voter) != answer.store or voter in self.ages:
            return  # No voter, or it has said yes: it cannot take that back, and the network repeats itself.
        if answer.term != self.term:
            return
        if answer.granted:
            self.ages[voter] = max(0.0, answer.age)
        else:
            self.denied.add(voter)

    @property
    def won(self) -> bool:
        return quorum.reached(self.voters, self.ages, self.quorum_size)

    @property
    def lost(self) -> bool:
        """It cannot be won any more."""
        return bool(self.denied) and not quorum.reached(self.voters, self.voters.keys() - self.denied, self.quorum_size)

    @property
    def age_min(self) -> float:
        """The least time since any of those who elected acknowledged a leader: the lease rule rests on it."""
        return min(self.ages.values())


def rank(me: str, priority: int, others: dict[str, int]) -> int:
    """How many of the others (id -> priority) come before me: higher priority first, then the lower id."""
    return sum((-theirs, node) < (-priority, me) for node, theirs in others.items())
