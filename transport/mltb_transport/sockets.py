"""Options every socket gets, and the one safe way to read a socket from an event loop. Reasons: DESIGN.md."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

import zmq

from mltb_transport.addresses import spelled
from mltb_transport.keepalive import KEEPALIVE
from mltb_transport.limits import FRAME_BYTES_MAX, RECEIVE_QUEUE_MAX, SEND_QUEUE_MAX, WIRE_BYTES_MAX

LIBZMQ_MIN = (4, 3, 5)
DRAIN_MESSAGES_MAX = 64
DRAIN_BYTES_MAX = 2 * FRAME_BYTES_MAX
"""Per turn of the loop and socket. What is left waits for the next turn, so a flood cannot starve timers."""

RECONNECT_MS = 50
RECONNECT_MAX_MS = 1000
CONNECT_TIMEOUT_MS = 1500
HANDSHAKE_MS = 3000

HANDSHAKE_FAILED = zmq.Event.HANDSHAKE_FAILED_NO_DETAIL | zmq.Event.HANDSHAKE_FAILED_PROTOCOL
"""Refused keys are not among them: the ZAP handler counts those."""

LINK_EVENTS = (
    zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)
"""What happens to a connection that we began."""

_POLLIN, _NOW, _MORE = int(zmq.POLLIN), int(zmq.NOBLOCK), int(zmq.NOBLOCK | zmq.SNDMORE)
"""As plain numbers: pyzmq's enumerations cost as much as the call itself, several times a message."""

_monitor_numbers = itertools.count(1)

RawSocket = zmq.Socket[bytes]
RawContext = zmq.Context[RawSocket]


class TransportUnusable(Exception):
    """The installed libzmq is too old to be exposed to a network."""


def check_libzmq(version: tuple[int, int, int]) -> None:
    """Raises TransportUnusable below LIBZMQ_MIN: older ones have remotely triggerable defects."""
    if version < LIBZMQ_MIN:
        needed, found = (".".join(map(str, v)) for v in (LIBZMQ_MIN, version))
        raise TransportUnusable(f"libzmq {found} is too old, {needed} is needed: upgrade `pyzmq`")


def set_common(socket: RawSocket) -> None:
    """For every socket of a bus."""
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, SEND_QUEUE_MAX)
    socket.setsockopt(zmq.RCVHWM, RECEIVE_QUEUE_MAX)
    socket.setsockopt(zmq.MAXMSGSIZE, WIRE_BYTES_MAX)
    socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)


def set_tcp(socket: RawSocket) -> None:
    """For every socket that binds or connects over TCP."""
    for option, value in KEEPALIVE.items():
        socket.setsockopt(option, value)
    socket.setsockopt(zmq.CONNECT_TIMEOUT, CONNECT_TIMEOUT_MS)
    socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS)
    socket.setsockopt(zmq.IMMEDIATE, 1)


def drop_unsent(socket: RawSocket, parts: list[bytes]) -> bool:
    """Send without waiting. True: it could not be taken, or its receiver is gone."""
    try:
        for part in parts[:-1]:
            socket.send(part, _MORE)
        socket.send(parts[-1], _NOW)
    except zmq.ZMQError as error:
        if error.errno not in (zmq.EAGAIN, zmq.EHOSTUNREACH):
            raise
        return True
    return False


def endpoint(address: str, port: int) -> str:
    """tcp:// with an IPv6 address in brackets."""
    return f"tcp://{spelled(address, port)}"


def watch(context: RawContext, socket: RawSocket, events: int) -> RawSocket:
    """A socket to read these monitor events of another from.

    It has no limit of its own: a full one would block libzmq's I/O thread.
    """
    name = f"inproc://monitor-{next(_monitor_numbers)}"
    socket.monitor(name, events)
    monitor = context.socket(zmq.PAIR)
    monitor.setsockopt(zmq.LINGER, 0)
    monitor.setsockopt(zmq.RCVHWM, 0)
    monitor.connect(name)
    return monitor


def event_of(parts: list[bytes]) -> int:
    """The number of a monitor event."""
    return int.from_bytes(parts[0][:2], "little")


class Drain:
    """Reads one socket from the loop until nothing is left, within a budget per turn.

    The file descriptor of a ZeroMQ socket is edge-triggered and shared by reading and sending, so readiness
    alone is never trusted: the state is read again after every turn, after every send, and by a slow timer.
    """

    def __init__(
        self, socket: RawSocket, handle: Callable[[list[bytes]], None], after: Callable[[], None] = lambda: None
    ) -> None:
        """`after`: called when all that was there has been handled, or as much as a turn allows."""
        self.socket = socket
        self._handle = handle
        self._polled = [(socket, _POLLIN)]
        self._after = after
        self._loop: asyncio.AbstractEventLoop | None = None
        self._fd = -1
        self._scheduled = False

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to read."""
        self._loop = loop
        self._fd = int(self.socket.getsockopt(zmq.FD))
        loop.add_reader(self._fd, self._turn)
        self.recheck()

    def stop(self) -> None:
        """Stop reading; before the socket is closed. Again: no effect."""
        if self._loop is not None:
            self._loop.remove_reader(self._fd)
            self._loop = None

    def recheck(self) -> None:
        """Read on in the next turn if anything is there. To be called after each send on the same socket."""
        if self._loop is not None and not self._scheduled and self._readable():
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _readable(self) -> bool:
        return bool(zmq.zmq_poll(self._polled, 0))  # What `getsockopt` says, in less time.

    def _turn(self) -> None:
        self._scheduled = False
        empty = self._loop is None
        try:
            empty = empty or self._read()
        finally:
            if not empty:
                self.recheck()
        self._after()

    def _read(self) -> bool:
        """Whether nothing is left, as seen after the last message was handled."""
        size = 0
        for _ in range(DRAIN_MESSAGES_MAX):
            try:
                parts = self.receive()
            except zmq.Again:  # Nothing, or a message of several parts whose rest is not there yet.
                return not self._readable()
            self._handle(parts)
            if self._loop is None:
                return True  # The handler closed the bus.
            if not self._readable():
                return True
            size += sum(map(len, parts))
            if size >= DRAIN_BYTES_MAX:
                break
        return False

    def receive(self) -> list[bytes]:
        """One message, or zmq.Again."""
        parts: list[bytes] = []
        self._receive_into(parts)
        return parts

    def _receive_into(self, parts: list[bytes]) -> zmq.Frame:
        """The last of them as it came. pyzmq's `recv_multipart` does the same in twice the time."""
        frame = self.socket.recv(_NOW, copy=False)
        parts.append(frame.bytes)
        while frame.more:
            frame = self.socket.recv(_NOW, copy=False)
            parts.append(frame.bytes)
        return frame


class RoleDrain(Drain):
    """The same for a ROUTER with authentication: the sender's role is put before the parts."""

    def receive(self) -> list[bytes]:
        parts: list[bytes] = []
        last = self._receive_into(parts)
        try:
            role = str(last.get("User-Id")).encode()
        except zmq.ZMQError:  # Nobody had to prove who they are.
            role = b""
        return [role, *parts]
