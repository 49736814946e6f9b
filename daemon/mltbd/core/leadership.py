"""What a leader knows of its followers: how far their logs match, which rounds they acknowledged. Arithmetic only."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mltb_transport.messages import Append, AppendAnswer
from mltbd.core import quorum
from mltbd.core.shipping import Shipments
from mltbd.core.stream import Stream

PEERS_MAX = 64
CONFIRMATIONS_MAX = 4096
REST_S = 0.25
REST_AGAIN_S = 2.0


@dataclass(slots=True)
class Progress:
    """One follower, as its answers describe it."""

    next_index: int
    match_index: int = 0
    told_commit: int = 0
    acked_round: int = 0
    acked_at: float = float("-inf")
    since: float = float("inf")  # reachable without a break since
    store: str = ""
    ready: tuple[str, ...] | None = None  # what it could run; None: it has not told yet
    listens: bool = True
    speaks: tuple[int, int] | None = None  # versions of the protocol, as it said itself in this reign
    said_round: int = 0  # in the youngest round it answered
    said_at: float = float("-inf")
    said_since: float = float("inf")  # without a break, and without saying anything else


@dataclass(slots=True)
class Transfer:
    """Leadership is being handed to `target`; no proposals meanwhile."""

    target: str
    began_at: float


@dataclass(slots=True)
class OwnDisk:
    """Whether the leader's disk holds it up: a quorum has on disk, and so has committed, what ours has not."""

    passed_at: float = float("inf")  # since when that is so, and nothing more was written here

    def look(self, commit: int, durable: int, now: float, *, wrote: bool) -> None:
        if wrote or commit <= durable:
            self.passed_at = float("inf")
        if commit > durable:
            self.passed_at = min(self.passed_at, now)


class Leadership:
    """One reign: from winning an election to stepping down."""

    def __init__(self, me: str, voters: dict[str, str], quorum_size: int, age_min: float, now: float) -> None:
        self.me = me
        self.voters = voters  # id -> store
        self.quorum_size = quorum_size
        self.won_at = now
        self.age_min = age_min
        self.election_s = 0.0  # how long winning took, for the history
        self.first_index = 0  # of the no-op of this term
        self.round = 0
        self.confirmed_round = 0
        self.confirmed_at = now  # start of the youngest round that a quorum acknowledged
        self.peers: dict[str, Progress] = {}
        self.stream = Stream(self.peers)
        self.disk = OwnDisk()
        self.shipments = Shipments(0, 0.0)  # end with the reign: each holds a whole snapshot
        self.transfer: Transfer | None = None
        self.rest_until = float("-inf")  # clients' commands wait until then, so that the log comes to rest
        self._old_index = 0  # the end of the log some rounds ago, and later
        self._next_index, self._next_at = 0, now
        self._said: Append | None = None
        self._round_starts: deque[tuple[int, float]] = deque()
        self._waiting: deque[tuple[int, object]] = deque()

    def rest(self, now: float) -> None:
        """A transfer needs a log at rest, which under load never comes by itself: a short breath, not often."""
        if now > self.rest_until + REST_AGAIN_S:
            self.rest_until = now + REST_S

    def is_slow(self, node: str) -> bool:
        """Whether this follower lacks something that was in the log REST_S ago, at the least."""
        return self.peers[node].match_index < self._old_index

    def replicate_to(self, learners: Iterable[str], next_index: int) -> None:
        """The voters and these, from now on. Others we go on with, as long as there is a place for them."""
        wanted = {node: None for node in (*self.voters, *learners) if node != self.me}
        if len(wanted | self.peers) > PEERS_MAX:
            for node in [node for node in self.peers if node not in wanted]:
                del self.peers[node]
        for node in wanted:
            if node not in self.peers and len(self.peers) < PEERS_MAX:
                self.peers[node] = Progress(next_index)

    def chosen(self, now: float, rivals: Callable[[float], dict[str, int]]) -> frozenset[str] | None:
        """Who has to be sent a command that is proposed now; None: everybody. `rivals`: who lives, by priority."""

        def able() -> dict[str, int]:
            return {node: priority for node, priority in rivals(now).items() if self.counts(node)}

        needed = quorum.needed(len(self.voters), self.quorum_size) - (self.me in self.voters)
        return self.stream.chosen(now, able, needed)

    def begin_round(self, now: float, last_index: int) -> None:
        self.round += 1
        self._round_starts.append((self.round, now))
        if now >= self._next_at:
            self._old_index, self._next_index, self._next_at = self._next_index, last_index, now + REST_S

    def once(self, append: Append) -> Append:
        """The same message for all who are equally far: so it is packed once."""
        if append != self._said:
            self._said = append
        return self._said

    def heard(self, sender: str, answer: AppendAnswer, now: float, silence_s: float) -> Progress | None:
        """Note an answer; None when it comes from somebody we do not replicate to."""
        peer = self.peers.get(sender)
        if peer is None:
            return None
        peer.acked_round = max(peer.acked_round, min(answer.round, self.round))
        if peer.store != answer.store:
            # Another disk than before: what the lost one held is not there, and must be sent again.
            peer.store, peer.match_index, peer.since = answer.store, 0, now
        peer.ready, peer.listens = answer.ready if answer.told else None, answer.listens
        if answer.round >= peer.said_round:  # An older answer may come from a daemon that is gone.
            if peer.speaks != (answer.oldest, answer.newest) or now - peer.said_at > silence_s:
                peer.speaks, peer.said_since = (answer.oldest, answer.newest), now
            peer.said_round, peer.said_at = min(answer.round, self.round), now
        # Who still lacks on disk what it was sent, and no less than before, hears us, but nothing can be left to it.
        if not answer.ok or answer.index > peer.match_index or answer.index >= peer.next_index - 1:
            if now - peer.acked_at > silence_s:
                peer.since = now
            peer.acked_at = now
        if answer.ok:
            peer.match_index = max(peer.match_index, answer.index)
            peer.next_index = max(peer.next_index, peer.match_index + 1)
        else:
            peer.next_index = max(peer.match_index + 1, min(answer.index, peer.next_index))
        return peer

    def counts(self, node: str) -> bool:
        """Whether this follower is the voter that was agreed on, with the disk it then had."""
        return node in self.peers and self.voters.get(node) == self.peers[node].store

    def agreed_index(self, durable: int) -> int:
        """The highest index that a quorum of voters holds on disk."""
        held = [peer.match_index for peer in self._counted()]
        return self._agreed(held, durable)

    def _counted(self) -> list[Progress]:
        """The followers that count, of all."""
        return [peer for node, peer in self.peers.items() if self.voters.get(node) == peer.store]

    def _agreed(self, theirs: list[int], own: int) -> int:
        if self.me in self.voters:
            theirs.append(own)
        return quorum.agreed(theirs, len(self.voters), self.quorum_size)

    def confirm(self, tag: object) -> bool:
        """Ask that a round which begins after this moment confirms our reign; False when too many wait."""
        if len(self._waiting) >= CONFIRMATIONS_MAX:
            return False
        self._waiting.append((self.round + 1, tag))
        return True

    def confirmed(self) -> list[object]:
        """The tags whose round a quorum has acknowledged since the last call."""
        if not self._round_starts:
            return []  # Every round that began is confirmed.
        acked = [peer.acked_round for peer in self._counted()]
        self.confirmed_round = max(self.confirmed_round, self._agreed(acked, self.round))
        while self._round_starts and self._round_starts[0][0] <= self.confirmed_round:
            self.confirmed_at = self._round_starts.popleft()[1]
        tags = []
        while self._waiting and self._waiting[0][0] <= self.confirmed_round:
            tags.append(self._waiting.popleft()[1])
        return tags

    def all_told(self, now: float, silence_s: float) -> bool:
        """Whether every voter is there and has told what it could run, or had time to."""
        if now - self.won_at > silence_s:
            return True
        told = {node for node, peer in self.peers.items() if peer.ready is not None}
        return set(self.voters) <= {self.me, *told} & set(self.alive(now, silence_s))

    def alive(self, now: float, silence_s: float) -> tuple[str, ...]:
        """Ourselves and the followers that answered within `silence_s`, sorted."""
        fresh = [node for node, peer in self.peers.items() if now - peer.acked_at <= silence_s]
        return tuple(sorted([self.me, *fresh]))
