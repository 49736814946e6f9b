"""One member's part in the election and the log: terms, votes, rounds, commit. Source: Raft (Ongaro), with pre-vote,
check-quorum, stickiness and transfer; the order in which nodes stand is the bully's (DESIGN.md, "Election")."""

from __future__ import annotations

from typing import Protocol

from mltb_transport.messages import (
    Answer,
    Append,
    AppendAnswer,
    Command,
    Election,
    Entry,
    Founding,
    NoOp,
    TimeoutNow,
)
from mltbd.core.election import PRE, PROBE, TRANSFER, VOTE, Ballot, Tally, rank, refusal
from mltbd.core.events import Recovered
from mltbd.core.leadership import Leadership, Progress, Transfer
from mltbd.core.log import InvariantViolation, Log
from mltbd.core.outbox import Outbox
from mltbd.core.ports import Entropy
from mltbd.core.timing import Timing

FOLLOWER, CANDIDATE, LEADER = "follower", "candidate", "leader"
PEERS_MAX = 64


class Company(Protocol):
    """What the election asks of gossip. Wrong answers cost time, never safety."""

    def rivals(self, now: float) -> dict[str, int]:
        """Live, eligible members other than me: id -> priority."""
        ...

    def learners(self) -> tuple[str, ...]:
        """Members of this cluster, to whom the log is replicated as well."""
        ...

    def ready(self) -> tuple[str, ...]:
        """The workloads this node could run now."""
        ...


class Consensus:
    """Ask `role`, `term`, `leader` and `commit`; feed messages, ticks and saves; take effects from the outbox."""

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
        self.log = Log(recovered.entries)
        self._voters: dict[str, str] = {}
        self.commit = 0
        self.durable = self.log.last_index
        self.role = FOLLOWER
        self.leader = ""
        self.alive: tuple[str, ...] = ()  # as the leader last told us
        self.heard_at = now  # when a leader last spoke, or we last gave a vote
        self.acked_at: float | None = None  # when we last acknowledged any leader; None: unknown, so "just now"
        self.reign: Leadership | None = None
        self.confirmations: list[object] = []  # tags for the node to take
        self._tally: Tally | None = None
        self._stand_at: float | None = None
        self._yielded = False
        self._own_vote: int | None = None  # the save that makes our own vote count
        self._own_age = 0.0
        self._saving: list[tuple[int, int, int]] = []  # (save, index, term) of unsaved log ends
        self._heartbeat_at = now

    # -- who we are ------------------------------------------------------------------------------------------

    @property
    def voters(self) -> dict[str, str]:
        """id -> store of the agreed voters; empty before the founding."""
        if not self._voters and self.log.last_index:
            founding = self.log.entry(1).command
            if not isinstance(founding, Founding):
                raise InvariantViolation("entry 1 is no founding")
            self._voters = {voter.node: voter.store for voter in founding.voters}
        return self._voters

    @property
    def is_voter(self) -> bool:
        """False on a wiped disk: that node is not the voter that was agreed on."""
        return self.voters.get(self.me) == self.store

    @property
    def in_charge(self) -> bool:
        """Leader, with an entry of its own term committed: only then is the state current."""
        return self.reign is not None and self.reign.first_index <= self.commit

    def leader_alive(self, now: float) -> bool:
        if self.role == LEADER:
            return True
        return bool(self.leader) and now - self.heard_at < self.timing.election_s

    @property
    def silence_s(self) -> float:
        """A follower silent for longer does not count as reachable; a leader this long without quorum steps down."""
        return 2 * self.timing.election_s

    def _age(self, now: float) -> float:
        return 0.0 if self.acked_at is None else max(0.0, now - self.acked_at)

    def found(self, entry: Entry) -> None:
        """Take over the founding entry on an empty disk."""
        self.log.append(entry)
        self.term = max(self.term, entry.term)
        self._save((entry,))

    # -- time ------------------------------------------------------------------------------------------------

    def next_deadline(self) -> float:
        if self.reign is not None:
            return self._heartbeat_at
        if not self.is_voter:
            return float("inf")
        return self._stand_at if self._stand_at is not None else self.heard_at + self.timing.election_s

    def tick(self, now: float, wall: int) -> None:
        if self.reign is not None:
            self._reign_on(self.reign, now, wall)
        elif self.is_voter and now >= self.next_deadline():
            self._silence(now, wall)

    def thaw(self, now: float) -> None:
        """The loop did not run for long: whatever we believed of our leader, or of our reign, is too old."""
        if self.role == LEADER:
            self._follow(self.term, "", now, "the loop stood still")
        self.leader = ""
        self.heard_at = now
        self._stand_at = None

    def _reign_on(self, reign: Leadership, now: float, wall: int) -> None:
        if now - reign.confirmed_at > self.silence_s:
            self._follow(self.term, "", now, "no quorum answers")
            return
        if reign.transfer and now - reign.transfer.began_at > self.timing.election_s:
            target = reign.transfer.target
            reign.transfer = None
            self._out.note("warning", f"transfer to {target} given up")
            # Moves the end of the log, so that a late TimeoutNow is stale (raft-rs issue 234).
            self.propose(NoOp(), now, wall)
        if now >= self._heartbeat_at:
            self.begin_round(now)

    def _silence(self, now: float, wall: int) -> None:
        """The leader is silent, or an attempt ran out: wait for our rank, then stand."""
        if self._stand_at is None or (self._tally is not None and self._tally.stage in (VOTE, TRANSFER)):
            self._tally = self._own_vote = None
            self._stand_at = now + self._rank_delay(now)
            if self._stand_at > now:
                return
        self._stand(PRE, now, wall)

    def _rank_delay(self, now: float) -> float:
        above = rank(self.me, self.priority, {n: p for n, p in self._company.rivals(now).items() if n in self.voters})
        step = self.timing.step_s
        return min(above * step + self._entropy.uniform(0, step / 2), self.timing.election_max_s)

    # -- ELECTION and ANSWER ---------------------------------------------------------------------------------

    def _stand(self, stage: str, now: float, wall: int) -> None:
        self.role, self.leader = CANDIDATE, ""  # A candidate that remembers a leader would refuse its rivals.
        term = self.term + 1
        self._tally = Tally(term, stage, tuple(self.voters), self.quorum_size)
        ask = Election(term, stage, self.log.last_index, self.log.last_term, self.priority)
        if stage in (PROBE, PRE):
            self._stand_at = now + self.timing.step_s + self._entropy.uniform(0, self.timing.step_s)
            self._tally.ages[self.me] = self._age(now)
        else:
            self.term, self.vote = term, self.me
            self._own_vote, self._own_age = self._save(()), self._age(now)
            self._stand_at = now + self.timing.election_s * self._entropy.uniform(0.5, 1.0)
            self._out.note("info", f"stands for term {term}")
        for voter in self._tally.voters:
            if voter != self.me:
                self._out.send_when_saved(voter, ask)
        self._proceed(now, wall)

    def _proceed(self, now: float, wall: int) -> None:
        """Take the next stage if this one is won."""
        tally = self._tally
        if tally is None or not tally.won:
            return
        if tally.stage in (PROBE, PRE):
            self._stand(TRANSFER if tally.stage == PROBE else VOTE, now, wall)
        elif self.me in tally.ages:  # Our own vote must be on disk like everybody's.
            self._lead(tally, now, wall)

    def asked(self, candidate: str, ask: Election, now: float, wall: int) -> None:
        """ELECTION from `candidate`."""
        sticky = self.leader_alive(now) and ask.stage == VOTE
        if ask.stage in (VOTE, TRANSFER) and ask.term > self.term and not sticky and candidate in self.voters:
            self._follow(ask.term, "", now, f"{candidate} stands for term {ask.term}")
        mine = Ballot(
            self.term,
            self.vote,
            self.log.last_term,
            self.log.last_index,
            self.leader_alive(now),
            self.is_voter,
        )
        why = refusal(candidate, ask, mine) if candidate in self.voters else "it is no voter"
        granted = not why
        if granted and ask.stage in (VOTE, TRANSFER) and self.vote != candidate:
            self.vote = candidate
            self._save(())
            self._calm(now)
        answer = Answer(ask.term if granted else self.term, ask.stage, granted, self._age(now))
        self._out.send_when_saved(candidate, answer)
        if why:
            self._out.note("debug", f"refuses {candidate} term {ask.term} ({ask.stage}): {why}")
        if ask.stage == PRE:
            self._bully(candidate, ask, granted, now, wall)

    def _bully(self, candidate: str, ask: Election, granted: bool, now: float, wall: int) -> None:
        """A higher-ranked node answers an ELECTION by standing itself; a lower-ranked one lets it pass, once."""
        if self.leader_alive(now) or not self.is_voter or self.role == LEADER:
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
        if self._tally is not None:
            self._tally.count(voter, answer)
            self._proceed(now, wall)

    def timeout_now(self, leader: str, order: TimeoutNow, now: float, wall: int) -> None:
        """The leader hands over. A probe comes first: who cannot win must not disturb."""
        if order.term != self.term or leader != self.leader or not self.is_voter:
            return
        if order.last_index != self.log.last_index:
            return  # Given up meanwhile, or we are behind.
        self._stand(PROBE, now, wall)

    def _lead(self, tally: Tally, now: float, wall: int) -> None:
        self.role, self.leader, self._tally, self._stand_at = LEADER, self.me, None, None
        self.reign = Leadership(self.me, self.voters, self.quorum_size, tally.age_min, now)
        self._out.note("info", f"leads term {self.term}, elected by {' '.join(sorted(tally.ages))}")
        self._refresh_peers(self.reign)
        self.reign.first_index = self.log.last_index + 1
        self._append(NoOp(), wall)
        self.begin_round(now)

    def _follow(self, term: int, leader: str, now: float, why: str) -> None:
        if self.role == LEADER:
            self._out.note("warning", f"steps down in term {self.term}: {why}")
            self.heard_at = now
        self.role, self.reign, self._tally, self._own_vote = FOLLOWER, None, None, None
        self.leader = leader
        self._stand_at = None
        if term > self.term:
            self.term, self.vote = term, ""
            self._save(())

    def _calm(self, now: float) -> None:
        self.heard_at, self._stand_at = now, None

    # -- the log ---------------------------------------------------------------------------------------------

    def propose(self, command: Command, now: float, wall: int) -> int | None:
        """Append a command and send it out. Its index; None when we may not propose now."""
        if self.reign is None or self.reign.transfer is not None:
            return None
        index = self._append(command, wall)
        for node, peer in self.reign.peers.items():
            self._send_append(node, peer, now)
        self._advance(now)
        return index

    def _append(self, command: Command, wall: int) -> int:
        entry = Entry(self.log.last_index + 1, self.term, wall, command)
        self.log.append(entry)
        self._save((entry,))
        return entry.index

    def _save(self, entries: tuple[Entry, ...]) -> int:
        number = self._out.save(self.term, self.vote, entries)
        if entries:
            self._saving.append((number, entries[-1].index, entries[-1].term))
            self.durable = min(self.durable, entries[0].index - 1)
        return number

    def saved(self, number: int, now: float, wall: int) -> None:
        """Everything up to this save is on disk."""
        self._out.saved(number)
        while self._saving and self._saving[0][0] <= number:
            _, index, term = self._saving.pop(0)
            if self.log.term_at(index) == term:
                self.durable = max(self.durable, index)
        if self._own_vote is not None and self._own_vote <= number and self._tally is not None:
            self._own_vote = None
            self._tally.ages[self.me] = self._own_age
            self._proceed(now, wall)
        self._advance(now)

    def begin_round(self, now: float) -> None:
        """Speak to every follower; whoever answers acknowledges this round."""
        reign = self._must_reign()
        self._refresh_peers(reign)
        reign.begin_round(now)
        self.acked_at = now  # A leader acknowledges its own round as it begins.
        self._heartbeat_at = now + self.timing.heartbeat_s
        for node, peer in reign.peers.items():
            self._send_append(node, peer, now)
        self._collect()

    def _refresh_peers(self, reign: Leadership) -> None:
        for node in (*reign.voters, *self._company.learners()):
            if node != self.me and node not in reign.peers and len(reign.peers) < PEERS_MAX:
                reign.peers[node] = Progress(next_index=self.log.last_index + 1)

    def _send_append(self, node: str, peer: Progress, now: float) -> None:
        reign = self._must_reign()
        previous = peer.next_index - 1
        entries = self.log.batch(peer.next_index)
        alive = reign.alive(now, self.silence_s)
        term_before = self.log.term_at(previous)
        self._out.send(node, Append(self.term, reign.round, previous, term_before, self.commit, alive, entries))
        peer.next_index += len(entries)  # In flight; a gap is refused and sent again.

    def append(self, leader: str, message: Append, now: float) -> None:
        """COORDINATOR or heartbeat from `leader`."""
        if message.term < self.term:
            self._answer_append(leader, message, False, 0)
            return
        if message.term == self.term and self.role == LEADER:
            raise InvariantViolation(f"{leader} leads term {self.term} as well")
        if message.term > self.term or self.role != FOLLOWER or self.leader != leader:
            self._follow(message.term, leader, now, f"{leader} leads term {message.term}")
        self._yielded = False
        self._calm(now)
        self.acked_at = now
        self.alive = message.alive
        if self.log.term_at(message.prev_index) != message.prev_term:
            behind = self.log.last_index < message.prev_index
            hint = self.log.last_index + 1 if behind else self.commit + 1
            self._answer_append(leader, message, False, hint)
            return
        fresh = self.log.merge(message.entries, self.commit)
        if fresh:
            self._save(fresh)
        matched = message.prev_index + len(message.entries)
        self.commit = max(self.commit, min(message.commit, matched))
        self._answer_append(leader, message, True, matched)

    def _answer_append(self, leader: str, message: Append, ok: bool, index: int) -> None:
        answer = AppendAnswer(self.term, message.round, ok, index, self.store, self._company.ready())
        self._out.send_when_saved(leader, answer)

    def append_answered(self, follower: str, answer: AppendAnswer, now: float) -> None:
        if answer.term > self.term:
            self._follow(answer.term, "", now, f"{follower} is in term {answer.term}")
            return
        if self.reign is None or answer.term < self.term:
            return  # Late: for a reign that is over.
        peer = self.reign.heard(follower, answer, now, self.silence_s)
        if peer is None:
            return
        if peer.next_index <= self.log.last_index:
            self._send_append(follower, peer, now)
        self._collect()
        self._advance(now)

    def _collect(self) -> None:
        self.confirmations.extend(self._must_reign().confirmed())

    def _advance(self, now: float) -> None:
        """Commit what a quorum holds; only entries of our own term are counted (Raft, figure 8)."""
        if self.reign is None:
            return
        index = self.reign.agreed_index(self.durable)
        if index <= self.commit or self.log.term_at(index) != self.term:
            return
        self.commit = index
        for node, peer in self.reign.peers.items():
            self._send_append(node, peer, now)  # The owner waits for this news.

    # -- handing over ----------------------------------------------------------------------------------------

    def confirm(self, tag: object, now: float) -> bool:
        """Have a quorum round that begins now confirm our reign; the tag comes back in `confirmations`."""
        reign = self._must_reign()
        if not reign.confirm(tag):
            return False
        self.begin_round(now)
        return True

    def transfer(self, target: str, now: float) -> bool:
        """Hand leadership to a follower that holds the whole log. False when it may not be."""
        reign = self.reign
        if reign is None or reign.transfer is not None or not reign.counts(target):
            return False
        if reign.peers[target].match_index != self.log.last_index or self.durable != self.log.last_index:
            return False
        reign.transfer = Transfer(target, now)
        self._out.note("info", f"hands leadership to {target}")
        self._out.send(target, TimeoutNow(self.term, self.log.last_index))
        return True

    def _must_reign(self) -> Leadership:
        if self.reign is None:
            raise InvariantViolation(f"not leading term {self.term}")
        return self.reign

    def check(self) -> None:
        """Raises InvariantViolation when this member's own state cannot be true."""
        if self.commit > self.log.last_index:
            raise InvariantViolation(f"commit {self.commit} is behind the end of the log {self.log.last_index}")
        if (self.role == LEADER) != (self.reign is not None):
            raise InvariantViolation(f"a {self.role} with{'out' if self.reign is None else ''} a reign")
        if self.log.last_term > self.term:
            raise InvariantViolation(f"the log ends in term {self.log.last_term}, ahead of term {self.term}")
