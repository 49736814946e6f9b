"""Who this node is connected to: its neighbours, whom the log needs, and a few guests."""

from __future__ import annotations

from mltbd.core.effects import Effect, Link, Unlink
from mltbd.core.overlay import MESH_MAX, neighbours
from mltbd.core.peers import Peer
from mltbd.core.roster import Roster

GUESTS_MAX = 8
"""Members connected to for a moment, to answer a question or to ask whether they are back."""


class Neighbourhood:
    """The links of one node, kept in step with its roster."""

    def __init__(self, me: str, roster: Roster) -> None:
        self.near: tuple[str, ...] = ()
        """Whom we listen to and watch, sorted."""
        self.linked: frozenset[str] = frozenset()
        """Whom we can send to."""
        self.sparse = False
        """Too many for everybody to listen to everybody."""
        self._me = me
        self._roster = roster
        self._needed: frozenset[str] = frozenset()
        self._guests: list[str] = []
        self._wired: tuple[object, ...] = ()
        self._watched: tuple[tuple[str, ...], int, list[Peer]] = ((), -1, [])

    def watched(self) -> list[Peer]:
        """The members of `near`, as far as they are still there."""
        near, generation, known = self._watched
        if near is not self.near or generation != self._roster.generation:  # Asked with every event, and rarely new.
            peers = self._roster.peers
            known = [peers[node] for node in self.near if node in peers]
            self._watched = (self.near, self._roster.generation, known)
        return known

    def need(self, nodes: frozenset[str]) -> None:
        """Keep connections to these, whoever our neighbours are: the voters, those we replicate to."""
        self._needed = nodes

    def welcome(self, node: str) -> None:
        """It asks, or may be back: connect to it for a while, in place of the oldest guest."""
        if node in self._roster.peers and node not in self.linked:
            self._guests = [node, *self._guests][:GUESTS_MAX]

    def rewire(self, now: float) -> list[Effect]:
        """What has to be connected and let go since the last call."""
        wiring = (self._roster.generation, self._needed, *self._guests)
        if wiring == self._wired:
            return []
        self._wired = wiring
        peers = self._roster.peers
        near = self._neighbours()
        self.near = tuple(sorted(near))
        self.sparse = len(near) < len(peers)
        for node, peer in peers.items():
            self._roster.watch(peer, node in near, now)
        wanted = near | ((self._needed | set(self._guests)) & peers.keys())
        gone, new = sorted(self.linked - wanted), sorted(wanted - self.linked)
        self.linked = wanted
        records = [peers[node].record for node in new]
        return [*map(Unlink, gone), *(Link(record.node, record.address, record.port) for record in records)]

    def only_linked(self, effects: list[Effect]) -> list[Effect]:
        """Without changes of connections that we do not have."""
        return [effect for effect in effects if not isinstance(effect, Link) or effect.node in self.linked]

    def _neighbours(self) -> frozenset[str]:
        peers = self._roster.peers
        if len(peers) < MESH_MAX:
            return frozenset(peers)  # The lost as well: a connection that stands again is how they come back.
        present = sorted([self._me, *(node for node, peer in peers.items() if not peer.lost)])
        near = neighbours(self._me, present)
        return near | (self._needed & peers.keys()) if self._me in self._needed else near  # Voters watch each other.
