"""The table of the other members: which facts enter it, who counts as reachable, who is forgotten."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import inf

from mltb_transport.gossip import Loss
from mltb_transport.messages import Suspicion, Sync
from mltb_transport.records import Record
from mltbd.core.effects import Contact, Effect, Link, Note, Send
from mltbd.core.peers import Peer, leaps, version
from mltbd.core.strain import StrainScore

MEMBERS_MAX = 1024
"""This node included."""
FORGOTTEN_MAX = 1024
STALE_S = 0.5
"""What a run that is over has sent has arrived by then. Also the pause between two reminders."""
SUSPICIONS_MAX = 64
"""Told in one heartbeat."""
FORGET_S = 24 * 3600.0
LEAVING = "LEAVING"


class Roster:
    """The other members, by id. Asks for a pull by setting `peer.pull`; never talks by itself."""

    def __init__(self, timeout_s: float, counters: Counter[str]) -> None:
        self.peers: dict[str, Peer] = {}
        self.counters = counters
        self.strain = StrainScore()
        self._timeout_s = timeout_s
        self.generation = 0
        """Grows whenever a member comes, goes, is lost or is back."""
        self._forgotten: dict[str, Record] = {}
        self._full_told = False

    def patience_s(self, peer: Peer | None, now: float) -> float:
        """How long a member may be silent: the node timeout, stretched while we seem slow ourselves."""
        return self._timeout_s * self.strain.factor(now, len(peer.accusers) if peer else 0)

    def is_reachable(self, node: str, now: float) -> bool:
        peer = self.peers.get(node)
        return peer is not None and peer.is_reachable(now, self.patience_s(peer, now))

    def lives_at(self, address: str, now: float) -> bool:
        """A reachable member has this `host:port`."""
        return any(
            f"{peer.record.address}:{peer.record.port}" == address and self.is_reachable(node, now)
            for node, peer in self.peers.items()
        )

    def suspicions(self, now: float) -> tuple[Suspicion, ...]:
        return tuple(
            Suspicion(node, peer.incarnation)
            for node, peer in sorted(self.peers.items())
            if peer.is_suspect(now, self.patience_s(peer, now))
        )[:SUSPICIONS_MAX]

    def merge(self, record: Record, now: float, *, heartbeat: bool) -> list[Effect]:
        """A fact of another node of our cluster; `heartbeat` when the node itself just published it."""
        peer = self.peers.get(record.node)
        if peer is None:
            return self._admit(record, now)
        before = peer.record
        if version(record) <= version(before):
            return []  # The newest stands: gossip repeats itself, and comes out of order.
        if leaps(version(record), (peer.incarnation, before.seq)):
            return self._leapt()
        if not heartbeat and peer.is_reachable(now, self.patience_s(peer, now)):
            peer.spoke(now)  # It lived after we last heard of it. Hearsay keeps a member, but raises none.
        peer.record = record
        if not peer.watched and peer.lost and version(record) > peer.lost_at:
            peer.lost = False  # ... but for those we do not watch: then all we have is what others say.
            self.generation += 1
        if record.incarnation > peer.incarnation:
            return self._reborn(peer, record.incarnation, now)
        if heartbeat and record.incarnation == before.incarnation and record.seq > before.seq + 1:
            peer.gap = True
        if (record.address, record.port) != (before.address, before.port):
            return [Link(record.node, record.address, record.port)]
        return []

    def alive(self, node: str, incarnation: int, now: float) -> list[Effect]:
        """A frame of this incarnation came from the node itself."""
        peer = self.peers.get(node)
        if peer is None:
            self.counters["unknown_sender"] += 1
            return []
        if incarnation < peer.incarnation:
            self.counters["stale"] += 1  # Sent before it was restarted.
            return self._remind(peer, now)
        if leaps((incarnation, 0), (peer.incarnation, 0)):
            return self._leapt()
        effects: list[Effect] = []
        if incarnation > peer.incarnation:
            effects += self._reborn(peer, incarnation, now)
        if not peer.proven or peer.lost:
            what = "is back" if peer.proven else "is here"
            at = f"{peer.record.address}:{peer.record.port}"
            effects.append(Note("info", f"member `{node}` at {at} {what}"))
        if peer.lost:
            peer.pull.now(now)  # Much may have been missed.
            self.generation += 1
        peer.proven, peer.lost = True, False
        peer.spoke(now)
        if peer.check_at == inf and peer.watched:
            peer.check_at = now + self.patience_s(peer, now) / 2
        return effects

    def thaw(self, stopped: float, now: float) -> None:
        """We listened to nobody from `stopped` on: the silence of those reachable then counts from now."""
        for peer in self.peers.values():
            timeout_s = self.patience_s(peer, stopped)
            if peer.watched and peer.is_reachable(stopped, timeout_s):
                peer.since, peer.check_at = now, now + timeout_s / 2

    def lose(self, peer: Peer, at: tuple[int, int]) -> None:
        """Its silence is known from now on; `at` is the newest version that was given up."""
        peer.check_at, peer.lost, peer.lost_at = inf, True, max(at, version(peer.record))
        self.generation += 1

    def losses(self) -> tuple[Loss, ...]:
        """Who is given up."""
        return tuple(Loss(node, *peer.lost_at) for node, peer in sorted(self.peers.items()) if peer.lost)

    def watch(self, peer: Peer, watched: bool, now: float) -> None:
        """Begin or end to listen to a member ourselves."""
        if watched and not peer.watched:
            peer.proven, peer.since = not peer.lost, now
            peer.check_at = inf if peer.lost else now + self.patience_s(peer, now) / 2
        elif peer.watched and not watched:
            peer.check_at = inf
            peer.gap = False
            peer.pull.rest()
        peer.watched = watched

    def expel(self, node: str, store: str) -> None:
        """This disk belongs to another cluster now. The same id on another disk is another node."""
        peer = self.peers.get(node)
        if peer is not None and peer.record.store == store:
            del self.peers[node]
            self.generation += 1

    def turn_out(self, node: str, store: str) -> None:
        """This disk was removed from our cluster."""
        peer = self.peers.get(node)
        if peer is not None and peer.record.store == store:
            self._drop(node)

    def forget(self, now: float) -> None:
        """Drop who left, and who has been silent for a day."""
        for node, peer in list(self.peers.items()):
            if peer.record.state == LEAVING:
                stays = now < peer.since + self._timeout_s
            else:
                stays = now < peer.since + FORGET_S or (not peer.watched and not peer.lost)
            if stays:
                continue
            self._drop(node)

    def _drop(self, node: str) -> None:
        """Others may still speak of it: only news of it brings it back."""
        self.generation += 1
        self._forgotten.pop(node, None)
        self._forgotten[node] = self.peers.pop(node).record
        if len(self._forgotten) > FORGOTTEN_MAX:
            del self._forgotten[next(iter(self._forgotten))]

    def _leapt(self) -> list[Effect]:
        self.counters["leap"] += 1
        return []

    def _admit(self, record: Record, now: float) -> list[Effect]:
        before = self._forgotten.get(record.node)
        if leaps(version(record), version(before) if before is not None else (0, 0)):
            return self._leapt()
        if before is not None and version(record) <= version(before):
            if record.store == before.store and version(record) == version(before):
                return []  # Others speak of it still.
            # A new disk under an old name counts from the beginning, and what it went on as after that is on no disk:
            # whoever begins anew below must be told how far its name came. Or nobody would ever listen to it again.
            return [Contact(f"{record.address}:{record.port}", Sync((before,), reply=False))]
        if len(self.peers) + 1 >= MEMBERS_MAX:
            self.counters["refused"] += 1
            if self._full_told:
                return []
            self._full_told = True
            return [Note("error", f"member `{record.node}` refused: {MEMBERS_MAX} are the most")]
        self._forgotten.pop(record.node, None)
        peer = Peer(record, record.incarnation, since=now, check_at=now + self.patience_s(None, now) / 2)
        peer.pull.now(now)
        self.peers[record.node] = peer
        self.generation += 1
        return []

    def _remind(self, peer: Peer, now: float) -> list[Effect]:
        """Of its present run nothing is heard, and an earlier one speaks on: how far it had come is on no disk."""
        if now < max(peer.since, peer.reminded_at) + STALE_S:
            return []
        peer.reminded_at = now
        known = replace(peer.record, incarnation=peer.incarnation)
        return [Send(known.node, Sync((known,), reply=False))]

    def _reborn(self, peer: Peer, incarnation: int, now: float) -> list[Effect]:
        peer.incarnation = incarnation
        peer.rtt_s = None
        peer.gap = False
        peer.pull.now(now)
        record = peer.record
        return [Link(record.node, record.address, record.port, fresh=True)]
