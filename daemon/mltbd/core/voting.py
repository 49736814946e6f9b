"""The election half of consensus: terms, votes, candidacies. Source: Raft with pre-vote and stickiness; the order in
which nodes stand is the bully's (DESIGN.md, "Election")."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

from mltb_transport.messages import Answer, Election, Entry, TimeoutNow
from mltb_transport.voters import Voter
from mltbd.core import describe
from mltbd.core.election import PRE, PROBE, TRANSFER, VOTE, Ballot, Tally, rank, refusal
from mltbd.core.events import Recovered
from mltbd.core.leadership import Leadership
from mltbd.core.log import Log
from mltbd.core.outbox import Outbox
from mltbd.core.ports import Entropy
from mltbd.core.timing import Timing

FOLLOWER, CANDIDATE, LEADER = "follower", "candidate", "leader"
WRITES = 4
"""An attempt has time for so many like our own, or half of that: the others write as well, and may have to twice."""
SNAPSHOT_S = 30.0
"""So long one write may take that brings a snapshot, 64 MiB at the most."""


class Company(Protocol):
    """What the election asks of gossip. Wrong answers cost time, never safety."""

    def rivals(self, now: float) -> dict[str, int]:
        """Live, eligible members other than me: id -> priority."""
        ...

    def learners(self) -> tuple[str, ...]:
        """Members of this cluster, to whom the log is replicated as well."""
        ...

    def ready(self) -> tuple[str, ...] | None:
        """The workloads this node could run now; None while it cannot know."""
        ...

    def listens(self) -> bool:
        """Whether clients of this node wait for what is committed."""
        ...


class Voting(ABC):
    """Who leads, as far as this member knows, and its own part in finding out. Consensus adds the log."""

    def __init__(
        self,
        me: str,
        recovered: Recovered,
        timing: Timing,
        entropy: Entropy,
        outbox: Outbox,
        company: Company,
        *,
        priority: int,
        quorum_size: int,
        now: float,
    ) -> None:
        self.me = me
        self.store = recovered.store
        self.timing = timing
        self.priority = priority
        self.quorum_size = quorum_size
        self._entropy = entropy
        self._out = outbox
        self._company = company
        self.term = recovered.term
        self.vote = recovered.vote
        self.log = Log(recovered.entries, recovered.snapshot, recovered.base)
        self.commit, self.durable = 0, self.log.last_index
        self.expelled = False
        """We were removed from the cluster, or were told so: we stand for nothing."""
        self._agreed: tuple[Voter, ...] = ()
        self._voters: dict[str, str] = {}
        self.role = FOLLOWER
        self.leader = ""
        self.heard_at = now  # when a leader last spoke, or we last gave a vote
        self.acked_at: float | None = None  # when we last acknowledged any leader; None: unknown, so "just now"
        self.reign: Leadership | None = None
        self._tally: Tally | None = None
        self._votes: Tally | None = None  # for us in the term we last stood for; a slow yes counts in all of that term
        self._stand_at: float | None = None
        self._ask_at = float("inf")  # when a long attempt asks again
        self._yielded = False
        self._ballot: int | None = None  # the save of our present term and vote, until it is done
        self._cast_at = now
        self._own_age = 0.0
        self._patience_s = timing.election_s  # of the next attempt; doubled by each that fails in one silence
        self._stood_at: float | None = None  # when the present attempts to lead began
        self._doubted = False  # a broken connection to the leader made us look

    # -- who we are ------------------------------------------------------------------------------------------

    @property
    def voters(self) -> dict[str, str]:
        """id -> store of the voters, as the end of our log says; empty before the founding."""
        if self.log.voters is not self._agreed:
            self._agreed = self.log.voters
            self._voters = {voter.node: voter.store for voter in self._agreed}
        return self._voters

    @property
    def is_voter(self) -> bool:
        """False on a wiped disk: that node is not the voter that was agreed on."""
        return self.voters.get(self.me) == self.store and not self.expelled

    @property
    def may_stand(self) -> bool:
        """A voter, or one until the change that takes it out is committed: its log may be the one that is needed."""
        is_voter = self.is_voter
        if is_voter or self.expelled:
            return is_voter
        undecided = self.log.voters_index > self.commit
        return undecided and Voter(self.me, self.store) in self.log.voters_before

    def expel(self, now: float) -> None:
        """We are no member any more."""
        self.expelled = True
        if self.role != FOLLOWER:
            self._follow(self.term, "", now, "it was removed from the cluster")

    def leader_alive(self, now: float) -> bool:
        if self.role == LEADER:
            return True
        return bool(self.leader) and now - self.heard_at < self.timing.election_s

    @property
    def silence_s(self) -> float:
        """A follower silent for longer does not count as reachable; a leader this long without quorum steps down."""
        return 2 * self.timing.election_s

    @property
    def disk_patience_s(self) -> float:
        """A leader's disk that writes nothing for longer, while a quorum goes on without it, hangs.

        Without what places something it can confirm no renewal: then others are to lead, however good its reason is.
        """
        if self._out.writes_snapshot and self.only_batches_after(self.durable):
            return max(SNAPSHOT_S, self.timing.election_s)
        return self.timing.election_s

    def only_batches_after(self, index: int) -> bool:
        """Whether nothing but clients' commands was committed behind this index."""
        return self.log.only_batches(index, self.commit)

    @property
    def in_charge(self) -> bool:
        """Leader, with an entry of its own term committed: only then is the state current."""
        return self.reign is not None and self.reign.first_index <= self.commit

    def current(self, applied: int) -> bool:
        """In charge, and a state up to `applied` lacks nothing that was committed but clients' commands."""
        return self.in_charge and self.only_batches_after(applied)

    def _age(self, now: float) -> float:
        return 0.0 if self.acked_at is None else max(0.0, now - self.acked_at)

    @abstractmethod
    def _save(self, entries: tuple[Entry, ...]) -> int:
        """Make term, vote and these entries durable; the number of the save."""

    @abstractmethod
    def _lead(self, tally: Tally, now: float, wall: int) -> None:
        """The election is won."""

    # -- term and vote ---------------------------------------------------------------------------------------

    @property
    def _campaigns(self) -> bool:
        """We have won our pre-votes, and ask for votes."""
        return self._tally is not None and self._tally.stage in (VOTE, TRANSFER)

    def _cast(self, term: int, vote: str, now: float) -> None:
        self.term, self.vote = term, vote
        self._ballot, self._cast_at = self._save(()), now

    def _ballot_saved(self, now: float, wall: int) -> None:
        """Only now do others hear what we asked them, or granted them: their time counts from here."""
        self._ballot = None
        if self._tally is not None and self._campaigns:
            patience_s = min(max(self._patience_s, WRITES * (now - self._cast_at)), self.timing.election_max_s)
            self._stand_at = now + patience_s * self._entropy.uniform(0.5, 1.0)
            self._ask_at = now + self.timing.election_s
            self._tally.ages[self.me] = self._own_age
            self._proceed(now, wall)
        elif self.vote and not self.leader and self.role == FOLLOWER:
            self.heard_at = now

    @property
    def _due_at(self) -> float:
        """When to look for a leader, or to try again. Nobody stands before its last word is on disk: others would be
        asked for votes it has no use for any more when they come."""
        if self._ballot is not None:
            return float("inf")
        if self._stand_at is None:
            return self.heard_at + self.timing.election_s
        if self._tally is None or not self._campaigns:
            return self._stand_at
        return float("-inf") if self._tally.lost else min(self._stand_at, self._ask_at)

    # -- the leader is silent --------------------------------------------------------------------------------

    def thaw(self, now: float) -> None:
        """The loop did not run for long: whatever we believed of our leader, or of our reign, is too old."""
        if self.role != FOLLOWER:
            self._follow(self.term, "", now, "the loop stood still")
        self.leader = ""
        self.heard_at = now
        self._stand_at = None

    def doubt(self, node: str, now: float) -> None:
        """The connection to `node` broke. If it leads, do not wait for its silence: a quorum must agree anyway."""
        if node == self.leader and self.role != LEADER:
            self.leader = ""
            self._doubted = True
            self.heard_at = min(self.heard_at, now - self.timing.election_s)

    def _silence(self, now: float, wall: int) -> None:
        """The leader is silent, or an attempt ran out: wait for our rank, then stand."""
        tally, due_at = self._tally, self._stand_at
        if tally is not None and self._campaigns and due_at is not None and now < due_at and not tally.lost:
            self._ask_again(tally, now)
            return
        if self._stand_at is None or self._campaigns:
            if self._campaigns:
                self._patience_s = min(2 * self._patience_s, self.timing.election_max_s)
            self._tally = None
            self._stand_at = now + self._rank_delay(now)
            if self._stand_at > now:
                return
        self._stand(PRE, now, wall)

    def _rank_delay(self, now: float) -> float:
        above = rank(self.me, self.priority, {n: p for n, p in self._company.rivals(now).items() if n in self.voters})
        step = self.timing.step_s
        delay_s = above * step + self._entropy.uniform(0, step / 2)
        return min(delay_s, self.timing.election_max_s, self.timing.lease_s)

    # -- ELECTION and ANSWER ---------------------------------------------------------------------------------

    def _stand(self, stage: str, now: float, wall: int) -> None:
        if stage != PROBE:  # A probe changes nothing: the leader lives, and speaks on while we ask around.
            self.role, self.leader = CANDIDATE, ""  # A candidate that remembers a leader would refuse its rivals.
        self._stood_at = now if self._stood_at is None or stage == PROBE else self._stood_at
        term = self.term + 1
        self._tally = Tally(term, stage, dict(self.voters), self.quorum_size)
        if stage in (PROBE, PRE):
            self._tally.ages[self.me] = self._age(now)
        if stage == PRE:
            self._stand_at = now + self.timing.step_s + self._entropy.uniform(0, self.timing.step_s)
        elif stage != PROBE:
            self._votes, self._own_age = self._tally, self._age(now)
            self._cast(term, self.me, now)
            self._out.note("info", f"stands for term {term}")
        self._ask(self._tally)
        self._proceed(now, wall)

    def _ask(self, tally: Tally) -> None:
        """Whoever has not said yes."""
        ask = Election(tally.term, tally.stage, self.log.last_index, self.log.last_term, self.priority)
        for voter in tally.voters:
            if voter != self.me and voter not in tally.ages:
                self._out.send_when_saved(voter, ask)

    def _ask_again(self, tally: Tally, now: float) -> None:
        """Of a long attempt: a word may have been lost, and nobody else stands before it is over."""
        self._ask_at = now + self.timing.election_s
        self._ask(tally)

    def _proceed(self, now: float, wall: int) -> None:
        """Take the next stage if this one is won."""
        tally, votes = self._tally, self._votes
        if votes is not None and votes.term == self.term and votes.won:
            if self.me in votes.ages:  # Our own vote must be on disk like everybody's.
                self._lead(votes, now, wall)
        elif tally is not None and tally.won:
            self._stand(TRANSFER if tally.stage == PROBE else VOTE, now, wall)

    def asked(self, candidate: str, ask: Election, now: float, wall: int) -> None:
        """ELECTION from `candidate`."""
        sticky = self.leader_alive(now) and ask.stage == VOTE
        if ask.stage in (VOTE, TRANSFER) and ask.term > self.term and not sticky:
            self._follow(ask.term, "", now, f"{candidate} stands for term {ask.term}")
        mine = Ballot(
            self.term,
            self.vote,
            self.log.last_term,
            self.log.last_index,
            self.leader_alive(now),
            self.voters.get(self.me, self.store) != self.store,
            self._campaigns,
        )
        why = refusal(candidate, ask, mine)
        granted = not why
        if granted and ask.stage == PRE and self._ballot is not None:
            return  # Nobody has use for a vote of ours before our last one has left, and may yet win by that.
        if granted and ask.stage in (VOTE, TRANSFER) and self.vote != candidate:
            self._cast(self.term, candidate, now)
            self.role, self._tally = FOLLOWER, None  # Who asks on for pre-votes would stand against its own vote.
            self._calm(now)
        answer = Answer(ask.term if granted else self.term, ask.stage, granted, self._age(now), self.store)
        # A pre-vote promises nothing, so there is nothing to forget: it need not wait for a slow disk.
        send = self._out.send if ask.stage in (PROBE, PRE) else self._out.send_when_saved
        send(candidate, answer)
        if why:
            self._out.note("debug", f"refuses {candidate} term {ask.term} ({ask.stage}): {why}")
        if ask.stage == PRE:
            self._bully(candidate, ask, granted, now, wall)

    def _bully(self, candidate: str, ask: Election, granted: bool, now: float, wall: int) -> None:
        """A higher-ranked node answers an ELECTION by standing itself; a lower-ranked one lets it pass, once."""
        if self.leader_alive(now) or not self.may_stand or self.role == LEADER or self._ballot is not None:
            return
        above = rank(self.me, self.priority, {candidate: ask.priority}) == 0
        standing = self._tally is not None
        if above and not standing:
            self._stand(PRE, now, wall)
        elif not above and granted and standing and not self._yielded:
            self._yielded, self._tally, self.role = True, None, FOLLOWER
            self._stand_at = now + self.timing.step_s * 2 + self._entropy.uniform(0, self.timing.step_s)

    def answered(self, voter: str, answer: Answer, now: float, wall: int) -> None:
        """ANSWER from `voter`."""
        if not answer.granted and answer.term > self.term:
            self._follow(answer.term, "", now, f"{voter} is in term {answer.term}")
            return
        for tally in (self._tally, self._votes):
            if tally is not None:
                tally.count(voter, answer)
        self._proceed(now, wall)

    def timeout_now(self, leader: str, order: TimeoutNow, now: float, wall: int) -> None:
        """The leader hands over. A probe comes first: who cannot win must not disturb."""
        if order.term != self.term or leader != self.leader or not self.may_stand:
            return
        if order.last_index != self.log.last_index:
            return  # Given up meanwhile, or we are behind.
        self._stand(PROBE, now, wall)

    def _abdicate(self, reign: Leadership, now: float, why: str) -> None:
        """Lead no more. The best of those who hold the whole log goes on at once, if there is one."""
        live = self._company.rivals(now)
        heirs = [node for node, p in reign.peers.items() if reign.counts(node) and p.match_index == self.log.last_index]
        if heirs:
            heir = min(heirs, key=lambda node: (node not in live, -live.get(node, 0), node))
            self._out.send(heir, TimeoutNow(self.term, self.log.last_index))
        self._follow(self.term, "", now, why)

    def _probe_over(self) -> None:
        """The leader has written on since it told us to stand: it has given the transfer up."""
        if self._tally is not None and self._tally.stage == PROBE:
            self._tally = None

    def _follow(self, term: int, leader: str, now: float, why: str) -> None:
        if self.role == LEADER:
            self._out.note("warning", describe.steps_down(self.term, why))
            self.heard_at = now
        self.role, self.reign, self._tally, self._votes = FOLLOWER, None, None, None
        self.leader = leader
        self._stand_at = None
        if term > self.term:
            self._cast(term, "", now)

    def _calm(self, now: float) -> None:
        self.heard_at, self._stand_at = now, None
        self._stood_at, self._doubted = None, False
