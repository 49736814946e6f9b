"""Real buses on loopback for tests: free ports, what each has received, and waiting for a condition."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator

import zmq

from mltb_transport.bus import Source
from mltb_transport.keys import KeyPair, Keyring, new_secret
from mltb_transport.messages import Message
from mltb_transport.sockets import endpoint
from mltb_transport.wire import Delivery, Inbound, Outbound
from mltb_transport.zmq_bus import BusConfig, ZmqBus

KEYS = Keyring.from_secret(new_secret())
LOOPBACK = "127.0.0.1"

# Below the range the kernel picks client ports from: there, a client could connect to itself and hold the port.
# In an order of its own for each run, so that runs side by side do not follow each other through the same ports.
_PORTS = itertools.cycle(random.SystemRandom().sample(range(20_000, 32_000, 2), 6000))


def free_port() -> int:
    """A port that is free, and the next one too."""
    for port in itertools.islice(_PORTS, 6000):
        with contextlib.suppress(OSError):
            for one in (port, port + 1):
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind((LOOPBACK, one))
            return port
    raise RuntimeError("no free port")


async def until(condition: Callable[[], object], deadline_s: float = 5.0) -> float:
    """Polls until the condition holds; how long that took."""
    begin = time.monotonic()
    while not condition():
        if time.monotonic() - begin > deadline_s:
            raise AssertionError(f"not within {deadline_s} s")
        await asyncio.sleep(0.002)
    return time.monotonic() - begin


def ignore(payload: bytes, source: Source) -> None:
    """Takes what a bus delivers when a test does not look at it."""
    del payload, source


class Node:
    """A bus with the two ends of the wire, and everything it received."""

    def __init__(self, name: str, keys: Keyring | None, port: int = 0, local_path: str = "") -> None:
        self.name = name
        self.port = port or free_port()
        self.bus = ZmqBus(BusConfig(LOOPBACK, self.port, keys, local_path))
        self.inbound = Inbound(name, self.bus.counters)
        self.outbound = Outbound(name, 1)
        self.raw: list[tuple[bytes, Source]] = []
        self.deliveries: list[Delivery] = []
        self.on_delivery: Callable[[Delivery], None] = self.deliveries.append

    def open(self) -> Node:
        self.bus.open(self._receive)
        return self

    def link(self, other: Node) -> None:
        self.bus.link(LOOPBACK, other.port)

    def send(self, other: Node, message: Message) -> bool:
        return self.bus.send(LOOPBACK, other.port, self.outbound.seal(message))

    def publish(self, message: Message) -> bool:
        return self.bus.publish(self.outbound.seal(message))

    def got(self, message: Message) -> bool:
        return any(delivery.frame.message == message for delivery in self.deliveries)

    def _receive(self, payload: bytes, source: Source) -> None:
        self.raw.append((payload, source))
        delivery = self.inbound.open(payload, source)
        if delivery is not None:
            self.on_delivery(delivery)


@contextlib.asynccontextmanager
async def nodes(*names: str, keys: Keyring | None = KEYS, local_path: str = "") -> AsyncIterator[list[Node]]:
    """Open buses, each linked to every other; `local_path` is the first one's."""
    opened: list[Node] = []
    try:
        for name in names:
            opened.append(Node(name, keys, local_path="" if opened else local_path).open())
        for node in opened:
            for other in opened:
                if node is not other:
                    node.link(other)
        yield opened
    finally:
        for node in opened:
            node.bus.close()


@contextlib.contextmanager
def stranger(kind: int, port: int, pair: KeyPair | None, server: bytes = b"") -> Iterator[zmq.Socket[bytes]]:
    """A socket of somebody else, connected to a port of ours with any key, or with none."""
    with zmq.Context() as context, context.socket(kind) as socket:
        socket.linger = 0
        if pair is not None:
            socket.setsockopt(zmq.CURVE_SERVERKEY, server or KEYS.server.public)
            socket.setsockopt(zmq.CURVE_PUBLICKEY, pair.public)
            socket.setsockopt(zmq.CURVE_SECRETKEY, pair.secret)
        if kind == zmq.SUB:
            socket.setsockopt(zmq.SUBSCRIBE, b"")
        socket.connect(endpoint(LOOPBACK, port))
        yield socket
