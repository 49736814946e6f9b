"""Gossip at scale, in virtual time: `python -m tests.sim.gossip 16 30 200 1000` prints what it costs and brings.

The real Membership of every node; links that delay, lose and stand late; nodes that are starved of their processor for
seconds at a time. The log is not here: voters, leases and elections never follow from gossip.
"""

from __future__ import annotations

import heapq
import random
import sys
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from mltb_transport.records import Record
from mltbd.core.effects import Contact, Effect, Link, Note, Publish, Send, Unlink
from mltbd.core.membership import Gossip, Membership

HEARTBEAT_S, TIMEOUT_S = 5.0, 15.0
DELAY_S = (0.0005, 0.02)
LOSS = 0.01
CONNECT_S = 0.01
SEEDS = 3
JOIN_S = 0.02
"""Between two nodes that are switched on."""
STALL_S = (0.5, 8.0)
STALL_PAUSE_S = (0.5, 6.0)
STARVED_SHARE = 0.1
NOTICED_S = 0.05
"""A node that is late by more tells its membership, as the driver does."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One run. Times in seconds; rates for each node and second."""

    nodes: int
    join_s: float
    news_half_s: float
    news_all_s: float
    loss_first_s: float
    loss_all_s: float
    sent: float
    sent_most: float
    links_most: int
    wrong: int
    """Live members called unreachable by nodes that were not starved, in the starved minute."""
    wrong_by_starved: int


@dataclass(slots=True)
class Host:
    """One node with its queue: while it is stalled, what arrives waits."""

    one: Membership
    stalled_until: float = 0.0
    starved: bool = False
    waiting: deque[tuple[str, int, Gossip]] = field(default_factory=deque)
    tick_at: float = float("inf")


class Cloud:
    """All nodes and everything between them."""

    def __init__(self, size: int, seed: int) -> None:
        self.now = 0.0
        self.dice = random.Random(seed)
        self.hosts: dict[str, Host] = {}
        self.sent: Counter[str] = Counter()
        self.blamed: list[tuple[float, str, str]] = []
        self._down: set[str] = set()
        self._side: set[str] = set()
        self._links: dict[tuple[str, str], float] = {}
        self._listeners: dict[str, set[str]] = {}
        self._order = count()
        self._queue: list[tuple[float, int, str, str, Any]] = []
        self._at = {f"10.0.{n // 250}.{n % 250}:7946": f"n{n:04}" for n in range(size)}
        seeds = list(self._at)[:SEEDS]
        for number, (address, node) in enumerate(self._at.items()):
            own = Record(
                node, 1, 0, f"disk-{node}", "cluster", address.partition(":")[0], 7946, "observer", 100, "ACTIVE",
                "HEALTHY", 0, "0", False, 1, "", 0, (), (),
            )  # fmt: skip
            one = Membership(own, [s for s in seeds if s != address], HEARTBEAT_S, TIMEOUT_S, self.dice)
            self.hosts[node] = Host(one)
            self._push(number * JOIN_S, node, "begin", None)

    # -- what is done to it ----------------------------------------------------------------------------------

    def change(self, node: str, **changes: Any) -> None:
        self._perform(node, self.hosts[node].one.update_own(self.now, **changes))
        self._wake(node)

    def kill(self, node: str) -> None:
        self._down.add(node)

    def cut(self, side: Sequence[str]) -> None:
        """Nothing passes between these nodes and the others."""
        self._side = set(side)

    def starve(self, nodes: Sequence[str], until: float) -> None:
        """These nodes get no processor now and then."""
        for node in nodes:
            self.hosts[node].starved = True
            at = self.now + self.dice.uniform(*STALL_PAUSE_S)
            while at < until:
                length = self.dice.uniform(*STALL_S)
                self._push(at, node, "stall", length)
                at += length + self.dice.uniform(*STALL_PAUSE_S)

    def run(self, until: float) -> None:
        while self._queue and self._queue[0][0] <= until:
            self.now, _, node, what, load = heapq.heappop(self._queue)
            if node not in self._down:
                self._step(node, what, load)
        self.now = until

    # -- what it measures ------------------------------------------------------------------------------------

    def live(self) -> list[str]:
        return [node for node in self.hosts if node not in self._down]

    def knowing(self, node: str, health: str) -> int:
        records = (self.hosts[other].one.record(node) for other in self.live())
        return sum(record is not None and record.health == health for record in records)

    def missing(self, node: str) -> int:
        """How many live nodes call it unreachable."""
        return sum(not self.hosts[other].one.reachable(node, self.now) for other in self.live())

    def complete(self) -> bool:
        return all(len(self.hosts[node].one.members(self.now)) == len(self.hosts) for node in self.live())

    def links(self) -> int:
        return max(Counter(source for source, _ in self._links).values())

    def time_until(self, patience_s: float, condition: Any) -> float:
        """Runs until it is true; how long that took, looked at every 50 ms. AssertionError when it never is."""
        begun = self.now
        while not condition():
            assert self.now < begun + patience_s, f"not within {patience_s} s"
            self.run(self.now + 0.05)
        return self.now - begun

    # -- inside ----------------------------------------------------------------------------------------------

    def _push(self, at: float, node: str, what: str, load: Any) -> None:
        heapq.heappush(self._queue, (at, next(self._order), node, what, load))

    def _step(self, node: str, what: str, load: Any) -> None:
        host = self.hosts[node]
        if what == "stall":
            host.stalled_until = self.now + load
            self._push(host.stalled_until, node, "awake", load)
        elif what == "begin":
            self._perform(node, host.one.start(self.now))
        elif what == "awake":
            if load > NOTICED_S:
                self._perform(node, host.one.strain(load, self.now))
            while host.waiting:
                sender, incarnation, message = host.waiting.popleft()
                self._perform(node, host.one.heard(sender, incarnation, message, self.now))
        elif self.now < host.stalled_until:
            if what == "message":
                host.waiting.append(load)
            return
        elif what == "message":
            sender, incarnation, message = load
            self._perform(node, host.one.heard(sender, incarnation, message, self.now))
        elif load == host.tick_at:
            host.tick_at = float("inf")
        else:
            return  # A timer that was set anew.
        if host.one.next_deadline() <= self.now:
            self._perform(node, host.one.tick(self.now))
        self._wake(node)

    def _wake(self, node: str) -> None:
        host = self.hosts[node]
        due = max(host.one.next_deadline(), host.stalled_until)
        if due < host.tick_at or host.tick_at <= self.now:
            host.tick_at = due
            self._push(due, node, "tick", due)

    def _perform(self, node: str, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Publish(message):
                    for listener in sorted(self._listeners.get(node, ())):
                        if self._links[listener, node] <= self.now:
                            self._pass(node, listener, message)
                case Send(to, message):
                    if self._links[node, to] <= self.now:
                        self._pass(node, to, message)
                case Contact(address, message):
                    self._pass(node, self._at[address], message)
                case Link(other, _, _, _):
                    self._links[node, other] = self.now + CONNECT_S
                    self._listeners.setdefault(other, set()).add(node)
                case Unlink(other):
                    self._links.pop((node, other))
                    self._listeners[other].discard(node)
                case Note(_, text):
                    if "unreachable" in text:
                        self.blamed.append((self.now, node, text.split("`")[1]))
                case _:
                    raise AssertionError(f"membership asks for {effect}")

    def _pass(self, source: str, target: str, message: Any) -> None:
        self.sent[source] += 1
        if (source in self._side) == (target in self._side) and self.dice.random() >= LOSS:
            at = self.now + self.dice.uniform(*DELAY_S)
            self._push(at, target, "message", (source, self.hosts[source].one.incarnation, message))


def measure(size: int, seed: int = 1, calm_s: float = 30.0, starved_s: float = 60.0) -> Measured:
    """The life of one cloud: it forms, is calm, learns news, loses a node, is starved."""
    cloud = Cloud(size, seed)
    cloud.run(size * JOIN_S)
    join_s = cloud.time_until(120.0, cloud.complete)
    cloud.run(cloud.now + 40.0)
    before, calm = Counter(cloud.sent), cloud.now
    cloud.run(cloud.now + calm_s)
    rates = [(cloud.sent[node] - before[node]) / (cloud.now - calm) for node in cloud.hosts]
    teller, dead = f"n{size // 2:04}", f"n{size - 1:04}"
    cloud.change(teller, health="DEGRADED")
    half_s = cloud.time_until(60.0, lambda: cloud.knowing(teller, "DEGRADED") >= size / 2)
    all_s = half_s + cloud.time_until(60.0, lambda: cloud.knowing(teller, "DEGRADED") == size)
    cloud.kill(dead)
    first_s = cloud.time_until(3 * TIMEOUT_S, lambda: cloud.missing(dead) > 0)
    lost_s = first_s + cloud.time_until(4 * TIMEOUT_S, lambda: cloud.missing(dead) == size - 1)
    begun, starved = cloud.now, cloud.live()[1 :: round(1 / STARVED_SHARE)]
    cloud.starve(starved, begun + starved_s)
    cloud.run(begun + starved_s)
    wrong = [(observer in starved) for at, observer, blamed in cloud.blamed if at > begun and blamed != dead]
    return Measured(
        size, join_s, half_s, all_s, first_s, lost_s, sum(rates) / size, max(rates), cloud.links(),
        wrong.count(False), wrong.count(True),
    )  # fmt: skip


def table(rows: Sequence[Measured]) -> str:
    """For people."""
    head = (
        f"heartbeat {HEARTBEAT_S:g} s, node timeout {TIMEOUT_S:g} s, {LOSS:.0%} lost, {STARVED_SHARE:.0%} starved for "
        f"{STALL_S[0]:g} to {STALL_S[1]:g} s at a time\n"
        "nodes  joined  news to half   to all  loss seen first  by all  sent/node/s  most  links  wrong by fit, starved"
    )
    lines = [
        f"{m.nodes:5} {m.join_s:6.1f}s {m.news_half_s:12.2f}s {m.news_all_s:7.2f}s {m.loss_first_s:15.1f}s "
        f"{m.loss_all_s:6.1f}s {m.sent:12.1f} {m.sent_most:5.1f} {m.links_most:6} {m.wrong:10}, {m.wrong_by_starved}"
        for m in rows
    ]
    return "\n".join([head, *lines])


if __name__ == "__main__":
    sizes = [int(word) for word in sys.argv[1:]] or [3, 16, 30, 200, 1000]
    sys.stdout.write(table([measure(size) for size in sizes]) + "\n")
