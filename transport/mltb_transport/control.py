"""The caller's side of the control plane: the connection to the first daemon that answers, and what can go wrong.

Calls are made in channel.py. Start-up time of the command line is the reason why this module imports neither the
messages nor asyncio.
"""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import zmq

from mltb_transport.limits import WIRE_BYTES_MAX

if TYPE_CHECKING:
    from mltb_transport.keys import Credential

CONNECT_S = 1.5
"""The most that one silent endpoint may take while others are left to try."""
ENDPOINTS_MAX = 32
SOCKETS_MAX = 16_384
"""Of all connections of a process; each takes three. Without effect where somebody else opened the context before."""
BROKEN_HANDSHAKES_MAX = 2
RECONNECT_MS_MAX = 5000
"""A connection that nobody uses while its daemon is away knocks ever more seldom; whoever calls opens another."""
POLL_MS_MAX = 2**31 - 1
"""What libzmq can wait for in one go."""

_monitor_numbers = itertools.count(1)


class ControlError(Exception):
    """A call that gave no result. `message` and `hint` are for people."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Unreachable(ControlError):
    """No daemon answers. `sent`: the request had left, so whether it took effect is not known."""

    def __init__(self, message: str, hint: str = "", sent: bool = False) -> None:
        super().__init__(message, hint)
        self.sent = sent


class Denied(ControlError):
    """A daemon is there and refuses our key, or speaks another one."""


class CallTimeout(ControlError):
    """Connected, but no answer in time. The request may still take effect."""


class CallFailed(ControlError):
    """The daemon answered with an error. `code` is one of ERROR_CODES, `body` the whole answer."""

    def __init__(self, code: str, message: str, hint: str = "", body: dict[str, Any] | None = None) -> None:
        super().__init__(message, hint)
        self.code = code
        self.body = body or {}


def connect(endpoints: Sequence[str], credential: Credential | None, deadline: float) -> Peer:
    """A connection to the first of `endpoints` that completes a handshake.

    An endpoint is the path of a socket, or `host:port` of a control port (IPv6 in brackets). `credential`: None
    where the cluster runs without a secret; never used for paths. Raises Unreachable or Denied; this outweighs
    silence, for it names the cause.
    """
    if not 1 <= len(endpoints) <= ENDPOINTS_MAX:
        raise CallFailed("usage", f"1 to {ENDPOINTS_MAX} endpoints are needed, not {len(endpoints)}")
    known = [_Endpoint(text) for text in endpoints]
    failures: list[ControlError] = []
    for left, endpoint in zip(range(len(known), 0, -1), known, strict=True):
        remaining = deadline - time.monotonic()
        share = remaining if left == 1 else min(CONNECT_S, remaining / left)
        peer: Peer | None = None
        try:
            peer = Peer(_shared_context(), endpoint, credential)
            peer.shake_hands(time.monotonic() + max(0.0, share))
        except ControlError as error:
            failures.append(error)
        except (OSError, zmq.ZMQError) as error:
            failures.append(unable(endpoint.text, error))
        else:
            connected, peer = peer, None
            return connected
        finally:
            if peer is not None:
                peer.close()
    denied = [failure for failure in failures if isinstance(failure, Denied)]
    if denied:
        raise denied[0]
    if len(failures) == 1:
        raise failures[0]
    told = "; ".join(failure.message for failure in failures)
    raise Unreachable(f"none of {len(failures)} endpoints answers: {told}", failures[0].hint)


def unable(endpoint: str, error: OSError | zmq.ZMQError) -> Unreachable:
    """Where it is this process that can open no connection: for it has too many files open, say."""
    return Unreachable(f"no connection to `{endpoint}` can be made: {error.strerror or error}", "run `ulimit -n`")


def _shared_context() -> zmq.Context[zmq.Socket[bytes]]:
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


class _Endpoint:
    """Where a daemon listens, as the user wrote it and as libzmq wants it."""

    def __init__(self, text: str) -> None:
        self.text = text
        bare = text.removeprefix("ipc://").removeprefix("tcp://")
        self.path = bare if "/" in bare else ""
        host, _, port = bare.rpartition(":")
        if not self.path and not (host and port.isdecimal() and 1 <= int(port) <= 65535):
            raise CallFailed("usage", f"`{text}` is neither a socket path nor `host:port`")
        self.url = f"ipc://{self.path}" if self.path else f"tcp://{bare}"
        self.is_ipv6 = host.startswith("[")

    def why_silent(self) -> Unreachable:
        """Nobody listens: what can be said without asking anybody."""
        if not self.path:
            return Unreachable(
                f"nothing answers at `{self.text}`", "is `mltbd` running there, and is this its control port?"
            )
        try:
            os.stat(self.path)
            closed = not os.access(self.path, os.R_OK | os.W_OK)
        except PermissionError:
            closed = True  # Its directory is: whether it exists is not for this user to know.
        except OSError:
            return Unreachable(f"no daemon here: `{self.path}` does not exist", "start it with `mltbd run`")
        if closed:
            return Unreachable(f"`{self.path}` is not open to this user", "run as the user of `mltbd`")
        if self._is_open():
            return Unreachable(f"the daemon at `{self.path}` did not answer in time", "if it hangs, see its log")
        return Unreachable(f"nobody listens at `{self.path}`", "start the daemon with `mltbd run`")

    def _is_open(self) -> bool:
        """Whether somebody listens, be it without a word: a daemon that is stopped, or has too much to do."""
        import socket  # Only for those that have waited in vain.

        with socket.socket(socket.AF_UNIX) as probe:
            probe.setblocking(False)
            try:
                probe.connect(self.path)
            except BlockingIOError:
                return True  # So many wait already.
            except OSError:
                return False
            return True


class Peer:
    """One DEALER and its monitor: libzmq tells only there why a connection does not come about."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], endpoint: _Endpoint, credential: Credential | None
    ) -> None:
        self.endpoint = endpoint
        self.socket = context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.IMMEDIATE, 1)
        self.socket.setsockopt(zmq.MAXMSGSIZE, WIRE_BYTES_MAX)
        self.socket.setsockopt(zmq.RECONNECT_IVL, 20)
        self.socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MS_MAX)
        self.socket.setsockopt(zmq.IPV6, int(endpoint.is_ipv6))
        if credential is not None and not endpoint.path:
            self.socket.setsockopt(zmq.CURVE_SERVERKEY, credential.server)
            self.socket.setsockopt(zmq.CURVE_PUBLICKEY, credential.pair.public)
            self.socket.setsockopt(zmq.CURVE_SECRETKEY, credential.pair.secret)
        self._keyed = credential is not None
        name = f"inproc://control-monitor-{next(_monitor_numbers)}"
        self.socket.monitor(name, zmq.EVENT_ALL)
        self.monitor = context.socket(zmq.PAIR)
        self.monitor.setsockopt(zmq.LINGER, 0)
        self.monitor.connect(name)

    def shake_hands(self, deadline: float) -> None:
        """Returns when requests can be sent. Raises Unreachable or Denied."""
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
                    raise self._hung_up()
            elif (event == zmq.EVENT_CONNECT_RETRIED and not connected) or (event == zmq.EVENT_CLOSED and broken):
                # Nobody listens, or no longer: who hung up on us has ended.
                raise self.endpoint.why_silent()
        if connected and broken:
            raise self._hung_up()
        raise self.endpoint.why_silent()

    @property
    def lost(self) -> bool:
        """Whether the other side has hung up since this was asked last."""
        while int(self.monitor.get(zmq.EVENTS)) & zmq.POLLIN:
            if _event_in(self.monitor) == zmq.EVENT_DISCONNECTED:
                return True
        return False

    def close(self) -> None:
        """Give everything back."""
        self.socket.disable_monitor()
        self.monitor.close()
        self.socket.close()

    def _event(self, deadline: float) -> int | None:
        """The next monitor event, None at the deadline."""
        wait_ms = int(max(0.0, min((deadline - time.monotonic()) * 1000, POLL_MS_MAX)))
        if not self.monitor.poll(wait_ms):
            return None
        return _event_in(self.monitor)

    def _hung_up(self) -> ControlError:
        """Why it let us in and hung up. A path knows no keys: there it ends, or it is no daemon."""
        if self.endpoint.path:
            return Unreachable(f"whoever listens at `{self.endpoint.path}` hangs up", "is `mltbd` starting or ending?")
        return self._denied()

    def _denied(self) -> Denied:
        where = self.endpoint.text
        if self._keyed:
            why = f"`{where}` refuses the key made from this cluster secret"
            return Denied(why, "use the secret of that cluster; the control port is the one after CLUSTER_PORT")
        return Denied(f"`{where}` is encrypted and needs the cluster secret", "set CLUSTER_SECRET")


def _event_in(monitor: zmq.Socket[bytes]) -> int:
    return int.from_bytes(monitor.recv_multipart()[0][:2], "little")
