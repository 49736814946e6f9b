"""The log half of consensus: rounds, replication, commit, transfer. Source: Raft (Ongaro), with check-quorum."""

from __future__ import annotations

from dataclasses import replace

from mltb_transport.level import FIRST, LEVEL_OF
from mltb_transport.limits import PIECE_BYTES_MAX
from mltb_transport.messages import Append, AppendAnswer, Command, Entry, NoOp, TimeoutNow
from mltb_transport.pieces import PieceAnswer
from mltb_transport.store import Batch
from mltb_transport.voters import ChangeVoters
from mltbd.core import describe
from mltbd.core.chronicle import first_entry
from mltbd.core.election import Tally
from mltbd.core.events import Recovered
from mltbd.core.leadership import Leadership, Progress, Transfer
from mltbd.core.level_rules import Speaks
from mltbd.core.log import InvariantViolation, never_back
from mltbd.core.outbox import Outbox
from mltbd.core.ports import Entropy
from mltbd.core.shipping import Shipments
from mltbd.core.snapshots import Snapshot
from mltbd.core.timing import Timing
from mltbd.core.voter_rules import may_change
from mltbd.core.voting import FOLLOWER, LEADER, Company, Voting

NEWS_S = 0.02
"""How long the news that clients' commands are committed may wait for an Append that carries it anyway."""
UNSAVED_MAX = 512
"""Saves with entries that wait for a follower's disk."""


class Consensus(Voting):
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
        super().__init__(
            me, recovered, timing, entropy, outbox, company, priority=priority, quorum_size=quorum_size, now=now
        )
        self._checked = (0, self.log.covered)  # commit and snapshot at the last check: neither ever goes back
        self.alive: tuple[str, ...] = ()  # as the leader last told us
        self.busy = False  # more entries follow in this very step, and carry the news of what is committed
        self._said: tuple[str, int, int, int] | None = None  # what we last told a leader that we hold
        self.confirmations: list[object] = []  # tags for the node to take
        self._saving: list[tuple[int, int, int]] = []  # (save, index, term) of unsaved log ends
        self._heartbeat_at = now
        self._look_at = now
        self._news_at = float("inf")
        self.piece_bytes = PIECE_BYTES_MAX
        self.speaks = Speaks()
        self.level, self.level_at = 0, 0  # of the cluster after this entry, the last that was applied

    def found(self, entry: Entry) -> None:
        """Take over the founding entry on an empty disk."""
        self.log.append(entry)
        self.term = max(self.term, entry.term)
        self._save((entry,))

    # -- time ------------------------------------------------------------------------------------------------

    def next_deadline(self) -> float:
        if self.reign is not None:
            disk_due_at = self.reign.disk.passed_at + self.disk_patience_s
            return min(self._heartbeat_at, self._look_at, self._news_at, self.reign.stream.due_at, disk_due_at)
        if not self.may_stand:
            return self.heard_at + self.silence_s if self.leader else float("inf")
        return self._due_at

    def tick(self, now: float, wall: int) -> None:
        if self.reign is not None:
            self._reign_on(self.reign, now, wall)
        elif now >= self.next_deadline() and self.may_stand:
            self._silence(now, wall)
        elif now >= self.next_deadline():
            self.leader = ""  # Nobody stands here, and whoever leads by now has to be asked for.

    def _reign_on(self, reign: Leadership, now: float, wall: int) -> None:
        if now >= self._news_at:
            self.tell_commit(now, late=True)
        if reign.stream.settles(now):
            for node, peer in reign.peers.items():
                if peer.next_index <= self.log.last_index:
                    self._send_append(node, peer, now)
        # At its own pace: the rounds of renewals put the heartbeat off, and must not put this off as well.
        self._look_at = now + self.timing.heartbeat_s
        if now - reign.confirmed_at > self.silence_s:
            self._follow(self.term, "", now, "no quorum answers")
            return
        if now >= reign.disk.passed_at + self.disk_patience_s:
            self._abdicate(reign, now, "its disk does not answer")
            return
        if reign.transfer and now - reign.transfer.began_at > self.timing.election_s:
            target = reign.transfer.target
            reign.transfer = None
            self._out.note("warning", f"transfer to {target} given up")
            # Moves the end of the log, so that a late TimeoutNow is stale (raft-rs issue 234).
            self.propose(NoOp(cause=f"transfer to {target} given up"), now, wall)
        if now >= self._heartbeat_at:
            self.begin_round(now)

    def _lead(self, tally: Tally, now: float, wall: int) -> None:
        self.role, self.leader, self._stand_at = LEADER, self.me, None
        self._tally, self._votes = None, None
        self.reign = Leadership(self.me, self.voters, self.quorum_size, tally.age_min, now)
        self.reign.shipments = Shipments(self.term, 2 * self.timing.heartbeat_s, self.piece_bytes)
        self._out.note("info", describe.leads(self.term, sorted(tally.ages)))
        self.reign.replicate_to(self._company.learners(), self.log.last_index + 1)
        self.reign.first_index = self.log.last_index + 1
        self.reign.election_s = 0.0 if self._stood_at is None else now - self._stood_at
        self._append(first_entry(self.reign, tally, doubted=self._doubted, reborn=self.acked_at is None), wall)
        self._stood_at, self._doubted, self._patience_s = None, False, self.timing.election_s
        self.begin_round(now)

    # -- the log ---------------------------------------------------------------------------------------------

    def propose(self, command: Command, now: float, wall: int) -> int | None:
        """Append a command and send it out. Its index; None when we may not propose now."""
        if self.reign is None or self.reign.transfer is not None:
            return None
        if isinstance(command, ChangeVoters) and not self.may_change(command):
            return None
        if LEVEL_OF.get(type(command), FIRST) > max(self.level, FIRST):
            return None  # Somebody here may not know it yet.
        index = self._append(command, wall)
        # Where others have on disk what we have not, ours is slow, and all of them are needed.
        few = isinstance(command, Batch) and self.commit <= self.durable
        chosen = self.reign.chosen(now, self._company.rivals) if few else None
        for node, peer in self.reign.peers.items():
            if chosen is None or peer.listens or node in chosen:
                self._send_append(node, peer, now)
            else:
                self.reign.stream.hold(index, now)
        return index

    def _append(self, command: Command, wall: int) -> int:
        entry = Entry(self.log.last_index + 1, self.term, wall, command)
        self.log.append(entry)
        if self.reign is not None:
            self.reign.voters = self.voters  # A change of the voters rules from here on.
        self._save((entry,))
        return entry.index

    def _save(self, entries: tuple[Entry, ...]) -> int:
        number = self._out.save(self.term, self.vote, entries)
        if entries:
            # What is cut here is cut on disk only by this save; an older one that ends behind the cut proves nothing.
            self._saving = [saving for saving in self._saving if saving[1] < entries[0].index]
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
        if self._ballot is not None and self._ballot <= number:
            self._ballot_saved(now, wall)
        self._advance(now, wrote=True)

    def begin_round(self, now: float) -> None:
        """Speak to every follower; whoever answers acknowledges this round."""
        reign = self.must_reign()
        reign.replicate_to(self._company.learners(), self.log.last_index + 1)
        reign.shipments.keep(reign.peers)
        reign.begin_round(now, self.log.last_index)
        self.acked_at = now  # A leader acknowledges its own round as it begins.
        self._heartbeat_at = now + self.timing.heartbeat_s
        for node, peer in reign.peers.items():
            if peer.next_index <= self.log.base_index:
                self._greet(node, peer, now)
            self._send_append(node, peer, now)
        self._collect()

    def _send_append(self, node: str, peer: Progress, now: float) -> None:
        if peer.next_index <= self.log.base_index:
            self._send_piece(node, peer, now)
            return
        self.must_reign().shipments.drop(node)
        entries = self.log.batch(peer.next_index)
        peer.told_commit = self.commit
        self._out.send(node, self._append_message(peer.next_index - 1, entries, now))
        peer.next_index += len(entries)  # In flight; a gap is refused and sent again.

    def _append_message(self, previous: int, entries: tuple[Entry, ...], now: float) -> Append:
        reign, before = self.must_reign(), self.log.term_at(previous)
        alive, ago_s = reign.alive(now, self.silence_s), round(now - reign.confirmed_at, 2)
        level = self.level if reign.first_index <= self.level_at else 0  # Until then it may have risen unseen.
        return reign.once(Append(self.term, reign.round, previous, before, self.commit, alive, entries, level, ago_s))

    # -- snapshots -------------------------------------------------------------------------------------------

    def _greet(self, node: str, peer: Progress, now: float) -> None:
        """A heartbeat for a follower that needs the snapshot; it matches as soon as that one has it."""
        self._out.send(node, self._append_message(self._must_snapshot().index, (), now))
        if now - peer.acked_at > self.silence_s:
            self.must_reign().shipments.drop(node)

    def _send_piece(self, node: str, peer: Progress, now: float) -> None:
        if now - peer.acked_at > self.silence_s:
            return  # It would speak to nobody.
        piece = self.must_reign().shipments.next_piece(node, self._must_snapshot(), now)
        if piece is not None:
            self._out.send(node, piece)

    def piece_answered(self, follower: str, answer: PieceAnswer, now: float) -> None:
        """How far this follower has come with its snapshot."""
        peer = self.reign.peers.get(follower) if self.reign is not None else None
        if peer is None or answer.term != self.term or answer.store != peer.store:
            return
        index = self.must_reign().shipments.answered(follower, answer)
        if index:
            peer.match_index = max(peer.match_index, index)
            peer.next_index = max(peer.next_index, index + 1)
            self._advance(now)
        self._send_append(follower, peer, now)

    def compact(self, snapshot: Snapshot, tail: int) -> None:
        """Keep this snapshot of what is applied, and of the entries it covers only the last `tail`."""
        self.log.compact(snapshot, max(self.log.base_index, snapshot.index - tail))
        self._out.save(self.term, self.vote, (), snapshot, (self.log.base_index, self.log.base_term))

    def install(self, snapshot: Snapshot) -> None:
        """Take over a leader's snapshot, which is ahead of all that we know to be committed."""
        known = max(self.commit, self.log.covered)
        if snapshot.index <= known:
            raise InvariantViolation(f"a snapshot of {snapshot.index} goes back behind {known}")
        if not self.log.install(snapshot):
            # Until this is saved the disk holds the old log: of that, what is committed stands in the new one as well.
            self.durable = min(self.durable, known)
            self._saving.clear()
        self.commit = snapshot.index
        self._probe_over()
        number = self._out.save(self.term, self.vote, (), snapshot, (snapshot.index, snapshot.term))
        self._saving.append((number, snapshot.index, snapshot.term))

    def _must_snapshot(self) -> Snapshot:
        if self.log.snapshot is None:
            raise InvariantViolation(f"a log from {self.log.base_index + 1} on without a snapshot")
        return self.log.snapshot

    def append(self, leader: str, message: Append, now: float) -> None:
        """COORDINATOR or heartbeat from `leader`."""
        if message.term < self.term:
            self._answer_append(leader, message, False, 0)
            return
        if message.term == self.term and self.role == LEADER:
            raise InvariantViolation(f"{leader} leads term {self.term} as well")
        if message.term > self.term or self.role != FOLLOWER or self.leader != leader:
            self._follow(message.term, leader, now, f"{leader} leads term {message.term}")
        self._yielded, self._patience_s = False, self.timing.election_s
        self._calm(now)
        self.acked_at = now
        self.alive = message.alive
        if message.entries and len(self._saving) >= UNSAVED_MAX:
            return  # As if it were lost, until the disk has come after: what waits for it takes memory.
        if message.prev_index < self.log.base_index:
            # Old, or repeated: what it speaks of is in the snapshot, and what is committed matches every leader's log.
            self._answer_append(leader, message, True, max(self.commit, self.log.covered))
            return
        wanted = self.log.wanted(message.prev_index, message.prev_term, self.commit)
        if wanted is not None:
            self._answer_append(leader, message, False, wanted)
            return
        fresh = self.log.merge(message.entries, self.commit)
        if fresh:
            self._probe_over()
            self._save(fresh)
        matched = message.prev_index + len(message.entries)
        self.commit = max(self.commit, min(message.commit, matched))
        said = (leader, message.term, message.round, matched)
        if said != self._said:  # That something is committed is news that needs no answer.
            self._said = said
            self._answer_append(leader, message, True, matched)

    def _answer_append(self, leader: str, message: Append, ok: bool, index: int) -> None:
        speaks, ready = self.speaks, self._company.ready()
        answer = AppendAnswer(
            self.term, message.round, ok, index, self.store, ready or (), self._company.listens(), speaks.oldest,
            speaks.newest, ready is not None,
        )  # fmt: skip
        if ok and not message.entries and self._ballot is None:  # A round needs nothing of a slow disk but the term.
            self._out.send(leader, replace(answer, index=min(index, self.durable)))
        if not ok or message.entries or self._ballot is not None or index > self.durable:
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
        self.reign.stream.answered(follower)
        wants = peer.next_index <= self.log.last_index and not self.reign.stream.holds(follower, peer.next_index)
        # Without what it acknowledged it refuses whatever comes: to be asked again in the next round, not at once.
        forgot = not answer.ok and answer.index <= peer.match_index
        if wants and not forgot:
            self._send_append(follower, peer, now)
        self._collect()
        self._advance(now)

    def _collect(self) -> None:
        self.confirmations.extend(self.must_reign().confirmed())

    def _advance(self, now: float, *, wrote: bool = False) -> None:
        """Commit what a quorum holds; only entries of our own term are counted (Raft, figure 8)."""
        if self.reign is None:
            return
        # With all of it committed there is nothing to count.
        index = self.reign.agreed_index(self.durable) if self.commit < self.log.last_index else self.commit
        grown = index > self.commit and self.log.term_at(index) == self.term
        self.commit = index if grown else self.commit
        self.reign.disk.look(self.commit, self.durable, now, wrote=wrote)
        if not grown:
            return
        if not self.busy:
            self.tell_commit(now)
        if self.me not in self.voters and self.log.voters_index <= self.commit:
            # We led until the others had our removal on disk.
            self._abdicate(self.reign, now, "it is no voter any more")

    def tell_commit(self, now: float, *, late: bool = False) -> None:
        """Who has not heard yet what is committed. Owners, and daemons whose clients wait, are told at once; to others
        the news of clients' commands goes with the next Append, or `late`."""
        self._news_at = float("inf")
        for node, peer in self.reign.peers.items() if self.reign is not None else ():
            if peer.told_commit >= self.commit:
                continue
            if late or peer.listens or not self.only_batches_after(peer.told_commit):
                self._send_append(node, peer, now)
            else:
                self._news_at = now + NEWS_S

    def may_change(self, command: ChangeVoters) -> bool:
        """One voter at a time, one change at a time, and nothing before an entry of our own term is committed."""
        after = {voter.node: voter.store for voter in command.voters}
        return self.in_charge and self.log.voters_index <= self.commit and may_change(self.voters, after)

    # -- handing over ----------------------------------------------------------------------------------------

    def confirm(self, tag: object, now: float) -> bool:
        """Have a quorum round that begins now confirm our reign; the tag comes back in `confirmations`."""
        reign = self.must_reign()
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
            reign.rest(now)
            return False
        reign.transfer = Transfer(target, now)
        self._out.note("info", f"hands leadership to {target}")
        self._out.send(target, TimeoutNow(self.term, self.log.last_index))
        return True

    def must_reign(self) -> Leadership:
        """The reign, where only a leader comes to."""
        if self.reign is None:
            raise InvariantViolation(f"not leading term {self.term}")
        return self.reign

    def check(self) -> None:
        """Raises InvariantViolation when this member's own state cannot be true."""
        log = self.log
        if self.commit > log.last_index:
            raise InvariantViolation(f"commit {self.commit} is behind the end of the log {log.last_index}")
        if (self.role == LEADER) != (self.reign is not None):
            raise InvariantViolation(f"a {self.role} with{'out' if self.reign is None else ''} a reign")
        self._checked = never_back(self._checked, self.commit, log.covered)
        if log.last_term > self.term:
            raise InvariantViolation(f"the log ends in term {log.last_term}, ahead of term {self.term}")
