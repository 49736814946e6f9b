"""The network between simulated machines: loss, delay, repeats, reordering, bursts, and partitions of any shape."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Protocol

from mltb_transport.messages import Message
from mltbd.core.events import Received
from tests.sim.history import Cut, History, Joined

RECONNECT_S = (0.0, 0.3)
HELD_SHARE = 0.3
HELD_S = (0.2, 3.0)
"""Kept by a retransmission: what was sent into a partition may arrive after it, at whoever runs there by then."""


class Host(Protocol):
    """One end of a wire."""

    name: str
    linked: set[str]

    def arrives(self, event: Received) -> None:
        """A message is at the door; lost when no daemon runs."""
        ...

    def hangs_up(self, name: str) -> None:
        """The connection to this host broke."""
        ...


class Network:
    """Carries messages between hosts. `block` and `unblock` nest, so that faults may overlap."""

    def __init__(
        self, dice: random.Random, at: Callable[..., None], clock: Callable[[], float], history: History
    ) -> None:
        self._dice = dice
        self._at = at
        self._clock = clock
        self._history = history
        self.hosts: dict[str, Host] = {}
        self.blocked: dict[tuple[str, str], int] = {}
        self.loss = 0.0
        self.repeat = 0.0
        self.lag_s = 0.0
        """In a burst: up to this much more delay, each message its own, so they overtake each other."""
        self.late: dict[tuple[str, str], float] = {}
        """The same for single links."""
        self.delay_s = (0.0002, 0.002)
        self.carried = 0
        self._ready_at: dict[tuple[str, str], float] = {}
        self._cut: set[str] = set()

    # -- the shape -------------------------------------------------------------------------------------------

    def block(self, pairs: list[tuple[str, str]]) -> None:
        """Nothing passes from the first of each pair to the second."""
        for pair in pairs:
            self.blocked[pair] = self.blocked.get(pair, 0) + 1
        self._watch_cuts()

    def unblock(self, pairs: list[tuple[str, str]]) -> None:
        for pair in pairs:
            left = self.blocked.get(pair, 0) - 1
            if left > 0:
                self.blocked[pair] = left
            else:
                self.blocked.pop(pair, None)
        self._watch_cuts()

    def heal(self) -> None:
        """No loss, no lag, no partition."""
        self.blocked.clear()
        self.late.clear()
        self.loss = self.repeat = self.lag_s = 0.0
        self._watch_cuts()

    def _watch_cuts(self) -> None:
        for name in self.hosts:
            alone = len(self.hosts) > 1 and all((other, name) in self.blocked for other in self.hosts if other != name)
            if alone and name not in self._cut:
                self._cut.add(name)
                self._history.append(Cut(self._clock(), name))
            elif not alone and name in self._cut:
                self._cut.discard(name)
                self._history.append(Joined(self._clock(), name))

    # -- connections -----------------------------------------------------------------------------------------

    def link(self, source: str, target: str, fresh: bool) -> None:
        """`source` connects to `target`; anew when `fresh`."""
        if fresh or (source, target) not in self._ready_at:
            self._ready_at[source, target] = self._clock()

    def unlink(self, source: str, target: str) -> None:
        """`source` hangs up."""
        self._ready_at.pop((source, target), None)

    def restarted(self, name: str) -> None:
        """Others reconnect to this one after a while, each in its own time."""
        for pair in list(self._ready_at):
            if pair[0] == name:
                del self._ready_at[pair]
            elif pair[1] == name:
                self._ready_at[pair] = self._clock() + self._dice.uniform(*RECONNECT_S)

    def _connected(self, source: str, target: str) -> bool:
        return self._ready_at.get((source, target), float("inf")) <= self._clock()

    # -- messages --------------------------------------------------------------------------------------------

    def send(self, source: str, target: str, incarnation: int, cluster: str, message: Message) -> None:
        """To a member; needs a link, like a DEALER that queues nothing for an absent peer."""
        if self._connected(source, target):
            self._carry(target, Received(source, incarnation, cluster, message))

    def contact(self, source: str, target: str, incarnation: int, cluster: str, message: Message) -> None:
        """To an address that nobody is known at yet."""
        if target in self.hosts and target != source:
            self._carry(target, Received(source, incarnation, cluster, message))

    def publish(self, source: str, incarnation: int, cluster: str, message: Message) -> None:
        """To all who subscribe: those who linked to the publisher."""
        for target, host in self.hosts.items():
            if target != source and source in host.linked and self._connected(target, source):
                self._carry(target, Received(source, incarnation, cluster, message))

    def _carry(self, target: str, event: Received) -> None:
        dice = self._dice
        if self.loss and dice.random() < self.loss:
            return
        arrives_at = self._clock() + self._travel_s(event.sender, target)
        self._at(arrives_at, self._arrive, target, event, 0)
        if self.repeat and dice.random() < self.repeat:
            self._at(arrives_at + dice.uniform(0, 2.0), self._arrive, target, event, 0)

    def _travel_s(self, source: str, target: str) -> float:
        low, high = self.delay_s
        worst = max(self.lag_s, self.late.get((source, target), 0.0))
        lag = self._dice.uniform(0, worst) if worst else 0.0
        return low + (high - low) * self._dice.random() + lag

    def _arrive(self, target: str, event: Received, held: int) -> None:
        if self.blocked and (event.sender, target) in self.blocked:
            if held < 2 and self._dice.random() < HELD_SHARE:
                self._at(self._clock() + self._dice.uniform(*HELD_S), self._arrive, target, event, held + 1)
            return
        self.carried += 1
        self.hosts[target].arrives(event)
