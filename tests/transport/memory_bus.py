"""The in-process twin of the ZeroMQ bus: the same promises and limits, in order, when the test says so."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from mltb_transport.bus import DOWN, LINKS_MAX, UP, BindError, OnFrame, OnLost, Route, Source, fits, new_counters
from mltb_transport.limits import PORT_MAX, SEND_QUEUE_MAX

Address = tuple[str, int]


class MemoryHub:
    """The network between memory buses: one queue, first in, first out.

    `schedule`: called with `deliver` for each payload queued, e.g. `loop.call_soon`; None: the test delivers.
    """

    def __init__(self, schedule: Callable[[Callable[[], object]], object] | None = None) -> None:
        self.buses: dict[Address, MemoryBus] = {}
        self._cut: set[tuple[Address, Address]] = set()
        self._queue: deque[tuple[Address, Address, bytes, Source]] = deque()
        self._waiting: dict[tuple[Address, Address], int] = {}
        self._schedule = schedule
        self._replies: dict[bytes, list[bytes]] = {}

    def cut(self, source: Address, target: Address) -> None:
        """From now on nothing gets from `source` to `target`; what is under way is lost."""
        self._cut.add((source, target))

    def heal(self, source: Address, target: Address) -> None:
        """Undo `cut`."""
        self._cut.discard((source, target))

    def deliver(self, count: int = 1) -> int:
        """Hand over up to `count` payloads; how many were taken from the queue."""
        taken = 0
        while taken < count and self._queue:
            source, target, payload, how = self._queue.popleft()
            self._waiting[source, target] -= 1
            taken += 1
            bus = self.buses.get(target)
            if bus is not None and (source, target) not in self._cut:
                bus.take(payload, how)
        return taken

    def deliver_all(self, limit: int = 100_000) -> int:
        """Until silence. RuntimeError when the nodes have not come to rest after `limit` payloads."""
        taken = 0
        while self._queue:
            if taken >= limit:
                raise RuntimeError(f"no rest after {limit} payloads")
            taken += self.deliver()
        return taken

    def put(self, source: Address, target: Address, payload: bytes, how: Source) -> bool:
        """Queue one payload; False when nobody listens, the way is cut, or SEND_QUEUE_MAX wait on it."""
        way = (source, target)
        if target not in self.buses or way in self._cut or self._waiting.get(way, 0) >= SEND_QUEUE_MAX:
            return False
        self._waiting[way] = self._waiting.get(way, 0) + 1
        self._queue.append((source, target, payload, how))
        if self._schedule is not None:
            self._schedule(self.deliver)
        return True

    def ask(self, target: Address, payload: bytes, role: str = "admin", client: str = "client") -> bool:
        """A control client's request, as if by the local socket (admin) or by TCP (viewer, node, open)."""
        peer = client.encode()
        self._replies.setdefault(peer, [])
        path = "local" if role == "admin" else "request"
        return self.put((client, 0), target, payload, Source(path, role, Route(path, peer)))

    def replies(self, client: str = "client") -> list[bytes]:
        """What the client has got so far; taken away from the hub."""
        peer = client.encode()
        taken = self._replies.get(peer, [])
        if peer in self._replies:
            self._replies[peer] = []
        return taken

    def give(self, peer: bytes, payload: bytes) -> bool:
        """Deliver a reply at once; False when there is no such client."""
        if peer not in self._replies:
            return False
        self._replies[peer].append(payload)
        return True


class MemoryBus:
    """See Bus."""

    def __init__(self, hub: MemoryHub, address: str, port: int, role: str = "node") -> None:
        self.counters = new_counters()
        self._hub = hub
        self._here = (address, port)
        self._role = role
        self._linked: dict[Address, None] = {}  # in order, so that tests replay
        self._on_frame: OnFrame | None = None
        self._on_lost: OnLost | None = None

    def open(self, on_frame: OnFrame, on_lost: OnLost | None = None) -> None:
        """Join the hub. BindError when the address is taken."""
        if self._here in self._hub.buses:
            raise BindError(f"cannot listen on `{self._here[0]}:{self._here[1]}`: address already in use")
        self._hub.buses[self._here] = self
        self._on_frame, self._on_lost = on_frame, on_lost

    def link(self, address: str, port: int) -> None:
        """From now on `send` may reach it, and its `publish` reaches us."""
        if (address, port) in self._linked:
            return
        if len(self._linked) >= LINKS_MAX or not 1 <= port <= PORT_MAX or not address:
            self.counters["links_refused"] += 1
            return
        self._linked[address, port] = None

    def relink(self, address: str, port: int) -> None:
        """There is no connection that could be stale here."""
        self.link(address, port)

    def unlink(self, address: str, port: int) -> None:
        """Undo `link`."""
        self._linked.pop((address, port), None)

    def send(self, address: str, port: int, payload: bytes) -> bool:
        """To the linked node."""
        if (address, port) not in self._linked:
            self.counters["send_unlinked"] += 1
            return False
        if not fits(payload, self.counters):
            return False
        source = Source("request", self._role, Route("request", f"{self._here[0]}:{self._here[1]}".encode()))
        return self._count(self._hub.put(self._here, (address, port), payload, source), "send_dropped")

    def publish(self, payload: bytes) -> bool:
        """To every node that linked to us."""
        if not fits(payload, self.counters):
            return False
        for there, bus in self._hub.buses.items():
            if self._here in bus._linked:
                self._hub.put(self._here, there, payload, Source("gossip", self._role))
        return self._count(True, "send_dropped")

    def reply(self, route: Route, payload: bytes) -> bool:
        """To the control client."""
        if not fits(payload, self.counters):
            return False
        return self._count(self._hub.give(route.peer, payload), "reply_dropped")

    def connections(self) -> dict[tuple[str, int], str]:
        """Who is linked, and whether it is there."""
        return {there: UP if there in self._hub.buses else DOWN for there in self._linked}

    def close(self) -> None:
        """Leave the hub."""
        if self._hub.buses.get(self._here) is self:
            del self._hub.buses[self._here]
            for bus in list(self._hub.buses.values()):
                bus.peer_left(self._here)
        self._on_frame = self._on_lost = None

    def peer_left(self, where: tuple[str, int]) -> None:
        """The hub's word that a bus has closed."""
        if where in self._linked:
            self.counters["connections_lost"] += 1
            if self._on_lost is not None:
                self._on_lost(*where)

    def take(self, payload: bytes, source: Source) -> None:
        """The hub delivers."""
        if self._on_frame is not None:
            self.counters["received"] += 1
            self._on_frame(payload, source)

    def _count(self, taken: bool, reason: str) -> bool:
        self.counters["sent" if taken else reason] += 1
        return taken
