"""Pings, and probes by proxy (SWIM's ping-req): those we asked others for, and those others asked us for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from mltb_transport.gossip import Probe, Probed
from mltb_transport.messages import Ping, Pong
from mltbd.core.effects import Effect, Send
from mltbd.core.neighbourhood import Neighbourhood
from mltbd.core.peers import Peer
from mltbd.core.roster import Roster

T = TypeVar("T")

PROBES = (Ping, Pong, Probe, Probed)
PINGS_MAX = 32
"""Remembered, to time their answers."""
ERRANDS_MAX = 32
"""Of each direction."""


@dataclass(frozen=True, slots=True)
class Errand:
    """`asker` waits for `node` to answer; `nonce` is the asker's own."""

    asker: str
    node: str
    nonce: int


class Probing:
    """Asks for signs of life. Remembers within limits; the oldest question is forgotten."""

    def __init__(self, roster: Roster, hood: Neighbourhood, incarnation: int) -> None:
        self._roster = roster
        self._hood = hood
        # A pong to an earlier incarnation must not match a ping of this one.
        self._nonce = (incarnation % 2**30) << 32
        self._pings: dict[int, float] = {}
        self._promised: dict[int, Errand] = {}
        self._asked: dict[int, str] = {}
        self.awaited: set[str] = set()
        self._helpers = 0

    def ping(self, nodes: Sequence[str], now: float) -> list[Effect]:
        """One question to each of these linked members."""
        if not nodes:
            return []
        self._nonce += 1
        _remember(self._pings, self._nonce, now, PINGS_MAX)
        return [Send(node, Ping(self._nonce)) for node in nodes]

    def ask(self, helpers: Sequence[str], node: str, now: float) -> list[Effect]:
        """Have others ping `node` for us."""
        if 0 < self._helpers == len(self.awaited):
            self._roster.strain.missed(now)  # No helper spoke since we asked last: the fault may be ours.
        self.awaited, self._helpers = set(helpers), len(helpers)
        self._nonce += 1
        _remember(self._asked, self._nonce, node, ERRANDS_MAX)
        return [Send(helper, Probe(node, self._nonce)) for helper in helpers]

    def spoke(self, sender: str) -> None:
        """A helper perhaps: it is well."""
        self.awaited.discard(sender)

    def pong(self, peer: Peer, answer: Pong, now: float) -> list[Effect]:
        """A linked member answered a ping: a round trip, and perhaps what somebody else waits for."""
        if answer.nonce > peer.ponged and answer.nonce in self._pings:
            peer.ponged = answer.nonce
            peer.measured(now - self._pings[answer.nonce])
        errand = self._promised.pop(answer.nonce, None)
        if errand is None or errand.asker not in self._hood.linked:
            return []
        return [Send(errand.asker, Probed(errand.node, errand.nonce, ok=True))]

    def probe(self, asker: str, errand: Probe, now: float) -> list[Effect]:
        """A linked member wants to know whether we reach another."""
        begun: list[Effect] = [Send(asker, Probed(errand.node, errand.nonce, ok=False))]
        if errand.node not in self._hood.linked:
            return begun
        pings = self.ping([errand.node], now)
        _remember(self._promised, self._nonce, Errand(asker, errand.node, errand.nonce), ERRANDS_MAX)
        return begun + pings

    def probed(self, answer: Probed, now: float) -> None:
        """A helper reached whom we could not: the cut is between us and it."""
        peer = self._roster.peers.get(answer.node)
        if answer.ok and peer is not None and not peer.lost and self._asked.get(answer.nonce) == answer.node:
            peer.spoke(now)


def _remember(table: dict[int, T], key: int, value: T, most: int) -> None:
    table[key] = value
    if len(table) > most:
        del table[next(iter(table))]
