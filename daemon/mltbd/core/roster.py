"""The table of the other members: which facts enter it, who counts as reachable, who is forgotten."""

from __future__ import annotations

from collections import Counter
from math import inf

from mltb_transport.messages import Record, Suspicion, Sync
from mltbd.core.effects import Contact, Effect, Link, Note
from mltbd.core.peers import Peer, version
from mltbd.core.strain import StrainScore

MEMBERS_MAX = 64
"""This node included. Every member talks to every other one."""
FORGOTTEN_MAX = 256
FORGET_S = 24 * 3600.0
LEAVING = "LEAVING"


class Roster:
    """The other members, by id. Asks for a pull by setting `peer.pull`; never talks by itself."""

    def __init__(self, timeout_s: float, counters: Counter[str]) -> None:
        self.peers: dict[str, Peer] = {}
        self.counters = counters
        self.strain = StrainScore()
        self._timeout_s = timeout_s
        self._forgotten: dict[str, Record] = {}
        self._full_told = False

    def patience_s(self, now: float) -> float:
        """How long a member may be silent: the node timeout, stretched while we are slow ourselves."""
        return self._timeout_s * self.strain.factor(now)

    def is_reachable(self, node: str, now: float) -> bool:
        peer = self.peers.get(node)
        return peer is not None and peer.is_reachable(now, self.patience_s(now))

    def lives_at(self, address: str, now: float) -> bool:
        """A reachable member has this `host:port`."""
        return any(
            f"{peer.record.address}:{peer.record.port}" == address and self.is_reachable(node, now)
            for node, peer in self.peers.items()
        )

    def suspicions(self, now: float) -> tuple[Suspicion, ...]:
        timeout_s = self.patience_s(now)
        return tuple(
            Suspicion(node, peer.incarnation)
            for node, peer in sorted(self.peers.items())
            if peer.is_suspect(now, timeout_s)
        )

    def merge(self, record: Record, now: float, *, heartbeat: bool) -> list[Effect]:
        """A fact of another node of our cluster; `heartbeat` when the node itself just published it."""
        peer = self.peers.get(record.node)
        if peer is None:
            return self._admit(record, now)
        before = peer.record
        if version(record) <= version(before):
            return []  # The newest stands: gossip repeats itself, and comes out of order.
        if not heartbeat and peer.is_reachable(now, self.patience_s(now)):
            peer.since = now  # It lived after we last heard of it. Hearsay keeps a member, but raises none.
        peer.record = record
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
            return []
        effects: list[Effect] = []
        if incarnation > peer.incarnation:
            effects += self._reborn(peer, incarnation, now)
        if not peer.proven or peer.lost:
            what = "is back" if peer.proven else "is here"
            at = f"{peer.record.address}:{peer.record.port}"
            effects.append(Note("info", f"member `{node}` at {at} {what}"))
        if peer.lost:
            peer.pull.now(now)  # Much may have been missed.
        peer.proven, peer.lost, peer.since = True, False, now
        if peer.check_at == inf:
            peer.check_at = now + self.patience_s(now) / 2
        return effects

    def thaw(self, stopped: float, now: float) -> None:
        """We listened to nobody from `stopped` on: the silence of those reachable then counts from now."""
        timeout_s = self.patience_s(stopped)
        for peer in self.peers.values():
            if peer.is_reachable(stopped, timeout_s):
                peer.since, peer.check_at = now, now + timeout_s / 2

    def expel(self, node: str, store: str) -> None:
        """This disk belongs to another cluster now. The same id on another disk is another node."""
        peer = self.peers.get(node)
        if peer is not None and peer.record.store == store:
            del self.peers[node]

    def turn_out(self, node: str, store: str) -> None:
        """This disk was removed from our cluster."""
        peer = self.peers.get(node)
        if peer is not None and peer.record.store == store:
            self._drop(node)

    def forget(self, now: float) -> None:
        """Drop who left, and who has been silent for a day."""
        timeout_s = self.patience_s(now)
        for node, peer in list(self.peers.items()):
            after_s = timeout_s if peer.record.state == LEAVING else FORGET_S
            if now < peer.since + after_s:
                continue
            self._drop(node)

    def _drop(self, node: str) -> None:
        """Others may still speak of it: only news of it brings it back."""
        self._forgotten.pop(node, None)
        self._forgotten[node] = self.peers.pop(node).record
        if len(self._forgotten) > FORGOTTEN_MAX:
            del self._forgotten[next(iter(self._forgotten))]

    def _admit(self, record: Record, now: float) -> list[Effect]:
        before = self._forgotten.get(record.node)
        if before is not None and version(record) <= version(before):
            if record.store == before.store:
                return []
            # A new disk under an old name counts from the beginning, and must be told how far the old one came.
            return [Contact(f"{record.address}:{record.port}", Sync((before,), reply=False))]
        if len(self.peers) + 1 >= MEMBERS_MAX:
            self.counters["refused"] += 1
            if self._full_told:
                return []
            self._full_told = True
            return [Note("error", f"member `{record.node}` refused: {MEMBERS_MAX} are the most")]
        self._forgotten.pop(record.node, None)
        peer = Peer(record, record.incarnation, since=now, check_at=now + self.patience_s(now) / 2)
        peer.pull.now(now)
        self.peers[record.node] = peer
        return [Link(record.node, record.address, record.port)]

    def _reborn(self, peer: Peer, incarnation: int, now: float) -> list[Effect]:
        peer.incarnation = incarnation
        peer.rtt_s = None
        peer.gap = False
        peer.pull.now(now)
        record = peer.record
        return [Link(record.node, record.address, record.port, fresh=True)]
