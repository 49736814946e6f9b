"""A whole cluster in virtual time: real Nodes, real frames, memory buses; time passes only while nobody speaks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from mltb_transport.bus import Source
from mltb_transport.frames import PROTOCOL, Frame
from mltb_transport.messages import Message
from mltb_transport.wire import Inbound
from mltbd.core.effects import (
    Arm,
    Contact,
    Effect,
    Leave,
    Link,
    Publish,
    Reply,
    Save,
    Send,
    StartWorkload,
    StopWorkload,
)
from mltbd.core.events import Ask, Event, GuardSays, Received, Saved, Tick
from mltbd.core.founding import Founder
from mltbd.core.node import Node
from mltbd.core.node_config import NodeConfig
from mltbd.core.timing import Timing
from mltbd.runtime import views
from tests.daemon.runtime.in_memory import MemoryDisk, MemoryGuard, Plain
from tests.transport.frame_kit import encode
from tests.transport.memory_bus import Address, MemoryBus, MemoryHub

PORT = 7946
BEGIN_S = 1000.0
BEGIN_MS = 1_767_323_045_000
"""2026-01-02T03:04:05Z"""
TICK_S = 1e-6


class House:
    """One node and the machine around it."""

    def __init__(self, town: Town, config: NodeConfig) -> None:
        self.town = town
        self.config = config
        self.disk = MemoryDisk(f"disk-{config.node}")
        self.replies: list[Reply] = []
        self.left = False
        self.address: Address = (config.address, config.port)
        self.open()

    def open(self) -> None:
        """A new incarnation on what the disk remembers; nothing runs any more."""
        self.on = True
        self.guard = MemoryGuard(self._says, lambda: self.town.now)
        self.node = Node(self.config, self.disk.recover(), Plain(), self.town.now)
        self.bus = MemoryBus(self.town.hub, *self.address)
        self.inbound = Inbound(self.node.me, self.bus.counters)
        self._at: dict[str, Address] = {}
        self._seq = 0
        self.bus.open(self._frame)
        self._perform(self.node.start(self.town.now, self.town.wall))

    def kill(self) -> None:
        """Power off: the disk keeps what it has, nothing else is left."""
        self.on = False
        self.bus.close()

    def view(self, lead: House | None = None) -> dict[str, Any]:
        """`status` of this node, with what the leader adds when it is asked."""
        facts = None if lead is None else views.leader_facts(lead.node, self.town.now)
        return views.status(self.node, self.town.now, facts)

    def ask(self, verb: str, target: str = "", **more: Any) -> None:
        """An operator's request, to this node."""
        self.feed(Ask(len(self.replies) + 1, verb, target=target, **more))

    def feed(self, event: Event) -> None:
        if self.on:
            self._perform(self.node.handle(event, self.town.now, self.town.wall))

    def _says(self, says: GuardSays) -> None:
        self.town.later(self, says)

    def _frame(self, payload: bytes, source: Source) -> None:
        self.inbound.cluster = self.node.cluster
        delivery = self.inbound.open(payload, source)
        if delivery is not None:
            frame = delivery.frame
            self.feed(Received(frame.sender, frame.incarnation, frame.cluster, frame.message))

    def _seal(self, message: Message) -> bytes:
        self._seq += 1
        return encode(Frame(PROTOCOL, self.node.cluster, self.node.me, self.node.incarnation, self._seq, message))

    def _perform(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(to, message) if to in self._at:
                    self.bus.send(*self._at[to], self._seal(message))
                case Save(save=number):
                    self.disk.submit(effect, lambda number=number: self.town.later(self, Saved(number)))  # type: ignore[misc]
                case Publish(message):
                    self.bus.publish(self._seal(message))
                case Contact(address, message):
                    host, _, port = address.rpartition(":")
                    self.bus.link(host, int(port))
                    self.bus.send(host, int(port), self._seal(message))
                case Link(name, address, port):
                    self._at[name] = (address, port)
                    self.bus.link(address, port)
                case Arm(workload, token, deadline):
                    self.guard.arm(workload, token, deadline)
                case StartWorkload(workload, token, grace_s):
                    self.guard.start(workload, token, grace_s)
                case StopWorkload(workload, token):
                    self.guard.stop(workload, token)
                case Reply():
                    self.replies.append(effect)
                case Leave():
                    self.left = True


class Town:
    """Nodes n1, n2 ...; n1 founds. Everything is reached through `house[name]` and `run`."""

    def __init__(self, size: int = 3, witnesses: Iterable[str] = (), lease_s: float = 3.0, **changes: Any) -> None:
        self.now = BEGIN_S
        self.hub = MemoryHub()
        self._events: deque[tuple[House, Node, Event]] = deque()
        self.house: dict[str, House] = {}
        names = [f"n{number}" for number in range(1, size + 1)]
        everybody = tuple(f"{name}.test:{PORT}" for name in names)
        for rank, name in enumerate(names):
            config = NodeConfig(
                node=name,
                cluster_id="c-1",
                timing=Timing.derive(lease_s),
                cluster_name="homelab",
                address=f"{name}.test",
                port=PORT,
                role="witness" if name in witnesses else "voter",
                priority=100 - 10 * rank,
                founder=Founder(name == "n1", size, size),
                seeds=tuple(seed for seed in everybody if not seed.startswith(name)),
                heartbeat_s=1.0,
                node_timeout_s=4.0,
                version="0.1.0",
            )
            self.house[name] = House(self, replace(config, **changes))

    @property
    def wall(self) -> int:
        return BEGIN_MS + int((self.now - BEGIN_S) * 1000)

    def later(self, house: House, event: Event) -> None:
        """After what is being done now; lost when that node is no more."""
        self._events.append((house, house.node, event))

    def settle(self) -> None:
        """Until nobody has anything more to say at this moment."""
        while self._events or self.hub.deliver():
            while self._events:
                house, node, event = self._events.popleft()
                if house.on and house.node is node:
                    house.feed(event)

    def run(self, seconds: float) -> None:
        """Let this much time pass."""
        self.until(lambda: False, seconds, must=False)

    def until(self, condition: Callable[[], object], within_s: float = 30.0, must: bool = True) -> None:
        """Let time pass until the condition holds."""
        end = self.now + within_s
        self.settle()
        while not condition():
            due = min(
                (min(h.node.next_deadline(), h.guard.deadline()) for h in self.house.values() if h.on), default=end
            )
            if due >= end:
                self.now = end
                assert not must, f"not within {within_s:g} s"
                return
            self.now = max(self.now, due) + TICK_S
            for house in [h for h in self.house.values() if h.on]:
                house.guard.look()
                if self.now >= house.node.next_deadline():
                    house.feed(Tick())
            self.settle()

    def formed(self) -> Town:
        """A leader, and `main` runs and every node knows."""
        self.until(lambda: self.owner() and all(self.runs(name, self.owner()) for name in self.house))
        self.run(2.0)
        return self

    def runs(self, seen_by: str, owner: str) -> bool:
        placement = self.house[seen_by].node.state.placements.get("main")
        return placement.owner == owner and placement.started

    def leader(self) -> str:
        """Who leads with a quorum, as those know that run."""
        for name, house in self.house.items():
            if house.on and house.node.consensus.reign is not None and views.has_quorum(house.node, self.now):
                return name
        return ""

    def owner(self, workload: str = "main") -> str:
        """Whose guard runs it; never two."""
        found = [name for name, house in self.house.items() if house.on and workload in house.guard.running()]
        assert len(found) <= 1, found
        return found[0] if found else ""

    def cut(self, *apart: str) -> None:
        """Nothing passes between these nodes and the others."""
        for one, two in self._pairs(apart):
            self.hub.cut(one, two)

    def heal(self, *apart: str) -> None:
        for one, two in self._pairs(apart):
            self.hub.heal(one, two)

    def _pairs(self, apart: Iterable[str]) -> list[tuple[Address, Address]]:
        inside = {self.house[name].address for name in apart}
        outside = {house.address for house in self.house.values()} - inside
        return [pair for a in inside for b in outside for pair in ((a, b), (b, a))]
