"""Memberships for tests: records with sensible defaults, and a small lossy net in virtual time."""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence
from dataclasses import replace
from math import inf
from typing import Any, TypeVar

from mltb_transport.messages import Heartbeat, Sync
from mltb_transport.records import Record
from mltbd.core.effects import Contact, Effect, Link, Note, Publish, Send, Unlink
from mltbd.core.membership import Gossip, Membership
from mltbd.core.roster import MEMBERS_MAX

T = TypeVar("T")
HEARTBEAT_S = 1.0
TIMEOUT_S = 3.0


class Dice:
    """Seeded entropy."""

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)

    def uniform(self, low: float, high: float) -> float:
        return self._random.uniform(low, high)

    def choice(self, items: Sequence[T]) -> T:
        return self._random.choice(items)


PLAIN = Record(
    node="n1", incarnation=1, seq=0, store="", cluster="", address="", port=7946, role="voter", priority=100,
    state="ACTIVE", health="HEALTHY", strain=0, version="0.1.0", founder=False, term=0, leader="", applied=0,
    ready=(), workloads=(),
)  # fmt: skip


def record(node: str, incarnation: int = 1, seq: int = 1, **changes: Any) -> Record:
    """A record of `node`, whose disk and address follow from its name."""
    here: dict[str, Any] = {"store": f"disk-{node}", "address": f"10.0.0.{node[1:]}"}
    return replace(PLAIN, node=node, incarnation=incarnation, seq=seq, **(here | changes))


def membership(node: str = "n1", *seeds: str, incarnation: int = 1, **changes: Any) -> Membership:
    own = record(node, incarnation, 0, **changes)
    return Membership(own, seeds, HEARTBEAT_S, TIMEOUT_S, Dice())


def started(*peers: str, now: float = 0.0, **changes: Any) -> Membership:
    """n1, running since `now`; `peers` spoke to it at that moment and answered its first question."""
    found = membership("n1", **changes)
    found.start(now)
    for peer in peers:
        found.heard(peer, 1, Sync((record(peer),), reply=False), now)
    return found


def check(one: Membership) -> None:
    """It does not contradict itself."""
    peers = one._roster.peers
    assert one.node not in peers
    assert len(peers) < MEMBERS_MAX
    for node, peer in peers.items():
        assert node == peer.record.node
        assert not one.identity.is_foreign(peer.record)
        assert peer.incarnation >= peer.record.incarnation, "its record is ahead"


def beat(node: str, seq: int, incarnation: int = 1, **changes: Any) -> Heartbeat:
    return Heartbeat(record(node, incarnation, seq, **changes), ())


def of(kind: type[T], effects: Sequence[Effect]) -> list[T]:
    return [effect for effect in effects if isinstance(effect, kind)]


def said(kind: type[T], effects: Sequence[Effect]) -> list[T]:
    """The messages of this kind, by whatever way."""
    messages = [effect.message for effect in effects if isinstance(effect, Publish | Send | Contact)]
    return [message for message in messages if isinstance(message, kind)]


def levels(effects: Sequence[Effect]) -> list[str]:
    return [note.level for note in of(Note, effects)]


def tick_until(one: Membership, until: float, kind: type[T]) -> list[tuple[float, T]]:
    """Ticks `one` at its own deadlines; the effects of `kind`, each with its moment."""
    found: list[tuple[float, T]] = []
    while (now := one.next_deadline()) <= until:
        effects = one.tick(now)
        assert one.next_deadline() > now
        found += [(now, effect) for effect in effects if isinstance(effect, kind)]
    return found


class Net:
    """Memberships that talk to each other in virtual time, over links that lose, delay and repeat.

    As with real sockets a connection takes a moment to stand, and what is sent before that is lost.
    """

    CONNECT_S = 0.01

    def __init__(self, seed: int, loss: float = 0.0, delay_s: float = 0.05) -> None:
        self.now = 0.0
        self.loss = loss
        self.delay_s = delay_s
        self.cut: set[tuple[str, str]] = set()
        """Pairs (from, to) between which nothing passes."""
        self.running: dict[str, Membership] = {}
        self.notes: list[tuple[str, Note]] = []
        self.sent = 0
        self._links: dict[tuple[str, str], float] = {}
        """When the connection (from, to) stands; a name or an address is connected to."""
        self._random = random.Random(seed)
        self._queue: list[tuple[float, int, str, str, int, Gossip]] = []
        self._count = 0

    def begin(self, one: Membership) -> None:
        self.running[one.node] = one
        self._links = {link: at for link, at in self._links.items() if link[0] != one.node}
        self._perform(one, one.start(self.now))

    def stop(self, node: str) -> None:
        del self.running[node]

    def change(self, node: str, **changes: Any) -> None:
        self._perform(self.running[node], self.running[node].update_own(self.now, **changes))

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while True:
            due = min((one.next_deadline(), node) for node, one in self.running.items())
            arrives = self._queue[0][0] if self._queue else until
            self.now = max(self.now, min(due[0], arrives, until))
            if self.now >= until:
                return
            if arrives <= due[0]:
                self._deliver()
            else:
                one = self.running[due[1]]
                self._perform(one, one.tick(self.now))
                assert one.next_deadline() > self.now, f"{due[1]} asks for the same moment again"

    def _deliver(self) -> None:
        _, _, source, target, incarnation, message = heapq.heappop(self._queue)
        one = self.running.get(target)
        if one is None or (source, target) in self.cut:
            return
        self._perform(one, one.heard(source, incarnation, message, self.now))
        check(one)

    def _perform(self, one: Membership, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Publish(message):
                    for target in sorted(self.running):
                        if self._links.get((target, one.node), inf) <= self.now:
                            self._pass(one, target, message)
                case Send(to, message):
                    assert (one.node, to) in self._links, f"{one.node} has no way to {to}"
                    if self._links[one.node, to] <= self.now:
                        self._pass(one, to, message)
                case Contact(address, message):
                    stands = self._links.setdefault((one.node, address), self.now + self.CONNECT_S)
                    for target, other in sorted(self.running.items()):
                        if f"{other.own.address}:{other.own.port}" == address and stands <= self.now:
                            self._pass(one, target, message)
                case Link(node, _, _, fresh):
                    if fresh or (one.node, node) not in self._links:
                        self._links[one.node, node] = self.now + self.CONNECT_S
                case Unlink(node):
                    del self._links[one.node, node]
                case Note():
                    self.notes.append((one.node, effect))
                case _:
                    raise AssertionError(f"membership asks for {effect}")

    def _pass(self, one: Membership, target: str, message: Any) -> None:
        self.sent += 1
        for _ in range(2 if self._random.random() < 0.05 else 1):
            if self._random.random() < self.loss:
                continue
            self._count += 1
            at = self.now + self._random.uniform(0.0, self.delay_s)
            heapq.heappush(self._queue, (at, self._count, one.node, target, one.incarnation, message))
