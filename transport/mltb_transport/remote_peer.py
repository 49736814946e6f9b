"""A daemon anywhere, by its control port: CURVE and TCP, by libzmq."""

from __future__ import annotations

import contextlib
import itertools
import signal
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

import zmq

from mltb_transport.control import BROKEN_HANDSHAKES_MAX, POLL_MS_MAX, CallFailed, Denied
from mltb_transport.keepalive import KEEPALIVE
from mltb_transport.limits import WIRE_BYTES_MAX

if TYPE_CHECKING:
    from mltb_transport.control import Endpoint
    from mltb_transport.keys import Credential

SOCKETS_MAX = 16_384
"""Of all connections of a process; each takes three. Without effect where somebody else opened the context before."""
RECONNECT_MS_MAX = 5000
"""A connection that nobody uses while its daemon is away knocks ever more seldom; whoever calls opens another."""
_EVENTS, _POLLIN, _NOW = int(zmq.EVENTS), int(zmq.POLLIN), int(zmq.NOBLOCK)
"""As plain numbers: see sockets.py."""

_monitor_numbers = itertools.count(1)


def shared_context() -> zmq.Context[zmq.Socket[bytes]]:
    """The one of this process, with one thread for all connections; another one after a fork. It is never given back:
    a connection gives back its sockets."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
    if context.get(zmq.MAX_SOCKETS) < SOCKETS_MAX:
        context.set(zmq.MAX_SOCKETS, SOCKETS_MAX)
        # Its threads begin with what is blocked here, and block the rest only once they run: until then a signal that
        # this thread holds back would end the process there.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            context.socket(zmq.PAIR).close()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return context


@contextlib.contextmanager
def _told_as_os_error() -> Iterator[None]:
    try:
        yield
    except zmq.ZMQError as error:
        raise OSError(error.errno, error.strerror) from error


class RemotePeer:
    """One DEALER and its monitor: libzmq tells only there why a connection does not come about."""

    edges: ClassVar[bool] = True

    def __init__(self, endpoint: Endpoint, credential: Credential | None) -> None:
        self.endpoint = endpoint
        self._keyed = credential is not None
        with _told_as_os_error():
            self._open(shared_context(), credential)

    def _open(self, context: zmq.Context[zmq.Socket[bytes]], credential: Credential | None) -> None:
        self.socket = context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.IMMEDIATE, 1)
        self.socket.setsockopt(zmq.MAXMSGSIZE, WIRE_BYTES_MAX)
        self.socket.setsockopt(zmq.RECONNECT_IVL, 20)
        self.socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MS_MAX)
        for option, value in KEEPALIVE.items():
            self.socket.setsockopt(option, value)
        self.socket.setsockopt(zmq.IPV6, int(self.endpoint.is_ipv6))
        if credential is not None:
            self.socket.setsockopt(zmq.CURVE_SERVERKEY, credential.server)
            self.socket.setsockopt(zmq.CURVE_PUBLICKEY, credential.pair.public)
            self.socket.setsockopt(zmq.CURVE_SECRETKEY, credential.pair.secret)
        name = f"inproc://control-monitor-{next(_monitor_numbers)}"
        self.socket.monitor(name, zmq.EVENT_ALL)
        self.monitor = context.socket(zmq.PAIR)
        self.monitor.setsockopt(zmq.LINGER, 0)
        self.monitor.connect(name)

    @property
    def files(self) -> tuple[int, ...]:
        return int(self.socket.get(zmq.FD)), int(self.monitor.get(zmq.FD))

    def send(self, message: bytes) -> bool:
        try:
            self.socket.send(message, _NOW)
        except zmq.Again:
            return False
        return True

    def take(self) -> list[bytes]:
        messages = []
        while int(self.socket.get(_EVENTS)) & _POLLIN:
            messages.append(self.socket.recv_multipart(_NOW)[-1])
        return messages

    def shake_hands(self, deadline: float) -> None:
        try:
            self.socket.connect(self.endpoint.url)
        except zmq.ZMQError as error:
            raise CallFailed("usage", f"cannot connect to `{self.endpoint.text}`: {error.strerror}") from error
        connected, broken = False, 0
        while True:
            event = self._event(deadline)
            if event is None:
                break
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                return
            if event == zmq.EVENT_CONNECTED:
                connected = True
            elif event in (zmq.EVENT_HANDSHAKE_FAILED_AUTH, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL):
                raise self._denied()
            elif event == zmq.EVENT_DISCONNECTED:
                # A server with another key just hangs up; so does one that is being stopped: ask twice. (That the
                # handshake failed is an event of its own before this one: the same hang-up.)
                broken += 1
                if broken >= BROKEN_HANDSHAKES_MAX:
                    raise self._denied()
            elif (event == zmq.EVENT_CONNECT_RETRIED and not connected) or (event == zmq.EVENT_CLOSED and broken):
                # Nobody listens, or no longer: who hung up on us has ended.
                raise self.endpoint.why_silent()
        if connected and broken:
            raise self._denied()
        raise self.endpoint.why_silent()

    @property
    def lost(self) -> bool:
        """Since this was asked last."""
        while int(self.monitor.get(_EVENTS)) & _POLLIN:
            if _event_in(self.monitor) == zmq.EVENT_DISCONNECTED:
                return True
        return False

    def close(self) -> None:
        self.socket.disable_monitor()
        self.monitor.close()
        self.socket.close()

    def _event(self, deadline: float) -> int | None:
        """The next monitor event, None at the deadline."""
        wait_ms = int(max(0.0, min((deadline - time.monotonic()) * 1000, POLL_MS_MAX)))
        if not self.monitor.poll(wait_ms):
            return None
        return _event_in(self.monitor)

    def _denied(self) -> Denied:
        where = self.endpoint.text
        if self._keyed:
            why = f"`{where}` refuses the key made from this cluster secret"
            return Denied(why, "use the secret of that cluster; the control port is the one after CLUSTER_PORT")
        return Denied(f"`{where}` is encrypted and needs the cluster secret", "set CLUSTER_SECRET")


def _event_in(monitor: zmq.Socket[bytes]) -> int:
    return int.from_bytes(monitor.recv_multipart()[0][:2], "little")
