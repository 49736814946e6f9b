"""The caller's side of the control plane: one blocking call at a time to the first daemon that answers.

Start-up time of the command line is the reason why this module imports neither the messages nor asyncio.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import msgpack
import zmq

from mltb_transport.limits import (
    FRAME_BYTES_MAX,
    HEADER_FIELDS,
    ITEMS_MAX,
    PROTOCOL,
    READ_METHODS,
    REQUEST_KIND,
    RESPONSE_KIND,
    TEXT_CHARS_MAX,
    WIRE_BYTES_MAX,
)

if TYPE_CHECKING:
    from mltb_transport.keys import Credential

CONNECT_S = 1.5
"""The most that one silent endpoint may take while others are left to try."""
ENDPOINTS_MAX = 32
SOCKETS_MAX = 16_384
"""Of all connections of a process; each takes three. Without effect where somebody else opened the context before."""
BROKEN_HANDSHAKES_MAX = 2

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


class ControlConnection:
    """Calls the first of `endpoints` that answers; stays with it until it is lost.

    An endpoint is the path of a socket, or `host:port` of a control port (IPv6 in brackets). `credential`:
    None where the cluster runs without a secret; never used for paths. For one thread.
    """

    def __init__(self, endpoints: Sequence[str], credential: Credential | None, timeout_s: float) -> None:
        if not 1 <= len(endpoints) <= ENDPOINTS_MAX:
            raise CallFailed("usage", f"1 to {ENDPOINTS_MAX} endpoints are needed, not {len(endpoints)}")
        self.timeout_s = timeout_s
        self._endpoints = [_Endpoint(text) for text in endpoints]
        self._credential = credential
        self._peer: _Peer | None = None
        self._ids = itertools.count(1)

    def __enter__(self) -> ControlConnection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def connected_to(self) -> str:
        """The endpoint in use, as it was given; empty before the first call."""
        return self._peer.endpoint.text if self._peer is not None else ""

    def call(self, method: str, params: dict[str, Any] | None = None, timeout_s: float | None = None) -> dict[str, Any]:
        """The daemon's result. `timeout_s` counts from now, connecting included.

        Raises Unreachable, Denied, CallTimeout or CallFailed.
        """
        text = json.dumps(params or {}, separators=(",", ":"))
        if len(text) > TEXT_CHARS_MAX:
            raise CallFailed("usage", f"the parameters of `{method}` are longer than {TEXT_CHARS_MAX} characters")
        deadline = time.monotonic() + (self.timeout_s if timeout_s is None else timeout_s)
        try:
            return self._call(method, text, deadline)
        except Unreachable as lost:
            if not lost.sent or method not in READ_METHODS:
                raise
        return self._call(method, text, deadline)

    def close(self) -> None:
        """Give everything back. Again: no effect."""
        self._drop_peer()

    def _call(self, method: str, params: str, deadline: float) -> dict[str, Any]:
        if self._peer is None:
            self._peer = self._connect(deadline)
        number = next(self._ids)
        frame = [PROTOCOL, "", "", 0, number, REQUEST_KIND, [number, method, params]]
        try:
            body = self._peer.ask(msgpack.packb(frame), number, deadline)
        except Unreachable:
            self._drop_peer()
            raise
        if body is None:
            raise CallTimeout(
                f"`{self.connected_to}` did not answer `{method}` in time",
                "try again with a longer `--timeout`",
            )
        return _result(*body)

    def _connect(self, deadline: float) -> _Peer:
        """The first endpoint that completes a handshake. Denied outweighs silence: it names the cause."""
        failures: list[ControlError] = []
        for left, endpoint in zip(range(len(self._endpoints), 0, -1), self._endpoints, strict=True):
            remaining = deadline - time.monotonic()
            share = remaining if left == 1 else min(CONNECT_S, remaining / left)
            peer = _Peer(_shared_context(), endpoint, self._credential)
            try:
                peer.shake_hands(time.monotonic() + max(0.0, share))
            except ControlError as error:
                peer.close()
                failures.append(error)
            except BaseException:
                peer.close()
                raise
            else:
                return peer
        denied = [failure for failure in failures if isinstance(failure, Denied)]
        if denied:
            raise denied[0]
        if len(failures) == 1:
            raise failures[0]
        told = "; ".join(failure.message for failure in failures)
        raise Unreachable(f"none of {len(failures)} endpoints answers: {told}", failures[0].hint)

    def _drop_peer(self) -> None:
        if self._peer is not None:
            self._peer.close()
            self._peer = None


def _shared_context() -> zmq.Context[zmq.Socket[bytes]]:
    """The one of this process, with one thread for all connections; another one after a fork. It is never given back:
    a connection gives back its sockets."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
    if context.get(zmq.MAX_SOCKETS) < SOCKETS_MAX:
        context.set(zmq.MAX_SOCKETS, SOCKETS_MAX)
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
        if not os.path.exists(self.path):
            return Unreachable(f"no daemon here: `{self.path}` does not exist", "start it with `mltbd run`")
        if not os.access(self.path, os.R_OK | os.W_OK):
            return Unreachable(f"`{self.path}` is not open to this user", "run as the user of `mltbd`")
        return Unreachable(f"nobody listens at `{self.path}`", "start the daemon with `mltbd run`")


class _Peer:
    """One DEALER and its monitor: libzmq tells only there why a connection does not come about."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], endpoint: _Endpoint, credential: Credential | None
    ) -> None:
        self.endpoint = endpoint
        self._socket = context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.IMMEDIATE, 1)
        self._socket.setsockopt(zmq.MAXMSGSIZE, WIRE_BYTES_MAX)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 20)
        self._socket.setsockopt(zmq.IPV6, int(endpoint.is_ipv6))
        if credential is not None and not endpoint.path:
            self._socket.setsockopt(zmq.CURVE_SERVERKEY, credential.server)
            self._socket.setsockopt(zmq.CURVE_PUBLICKEY, credential.pair.public)
            self._socket.setsockopt(zmq.CURVE_SECRETKEY, credential.pair.secret)
        self._keyed = credential is not None
        name = f"inproc://control-monitor-{next(_monitor_numbers)}"
        self._socket.monitor(name, zmq.EVENT_ALL)
        self._monitor = context.socket(zmq.PAIR)
        self._monitor.setsockopt(zmq.LINGER, 0)
        self._monitor.connect(name)

    def shake_hands(self, deadline: float) -> None:
        """Returns when requests can be sent. Raises Unreachable or Denied."""
        try:
            self._socket.connect(self.endpoint.url)
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

    def ask(self, request: bytes, number: int, deadline: float) -> tuple[bool, str] | None:
        """(ok, body) of the answer, None when none came in time. Raises Unreachable when the peer is lost."""
        try:
            self._socket.send(request, zmq.NOBLOCK)
        except zmq.Again:
            raise Unreachable(f"the connection to `{self.endpoint.text}` was lost", sent=False) from None
        while True:
            wait_ms = max(0, int((deadline - time.monotonic()) * 1000) + 1)
            ready = dict(zmq.zmq_poll([(self._socket, zmq.POLLIN), (self._monitor, zmq.POLLIN)], wait_ms))
            if self._socket in ready:
                body = _response(self._socket.recv_multipart(zmq.NOBLOCK), number)
                if body is not None:
                    return body
            elif self._monitor in ready and self._event(deadline) == zmq.EVENT_DISCONNECTED:
                raise Unreachable(
                    f"the connection to `{self.endpoint.text}` was lost before the answer",
                    "run `mltbctl status` to see whether it took effect",
                    sent=True,
                )
            if time.monotonic() >= deadline:
                return None

    def close(self) -> None:
        self._socket.disable_monitor()
        self._monitor.close()
        self._socket.close()

    def _event(self, deadline: float) -> int | None:
        """The next monitor event, None at the deadline."""
        wait_ms = max(0, int((deadline - time.monotonic()) * 1000))
        if not self._monitor.poll(wait_ms):
            return None
        return int.from_bytes(self._monitor.recv_multipart()[0][:2], "little")

    def _hung_up(self) -> ControlError:
        """Why it let us in and hung up. A path knows no keys: there it ends, or it is no daemon."""
        if self.endpoint.path:
            return Unreachable(f"whoever listens at `{self.endpoint.path}` hangs up", "is `mltbd` starting or ending?")
        return self._denied()

    def _denied(self) -> Denied:
        where = self.endpoint.text
        if self._keyed:
            return Denied(f"`{where}` refuses the key made from this cluster secret", "use the secret of that cluster")
        return Denied(f"`{where}` is encrypted and needs the cluster secret", "set CLUSTER_SECRET")


def _response(parts: list[bytes], number: int) -> tuple[bool, str] | None:
    """(ok, body) when this is the answer to request `number`; None for anything else: passed over."""
    try:
        frame = msgpack.unpackb(
            parts[-1],
            raw=False,
            max_str_len=FRAME_BYTES_MAX,
            max_array_len=ITEMS_MAX,
            max_bin_len=0,
            max_map_len=0,
            max_ext_len=0,
        )
    except (ValueError, msgpack.UnpackException):
        return None
    if type(frame) is not list or len(frame) < HEADER_FIELDS or frame[5] != RESPONSE_KIND:
        return None
    fields = frame[6]
    if type(fields) is not list or len(fields) < 3 or fields[0] != number:
        return None
    if type(fields[1]) is not bool or type(fields[2]) is not str:
        return None
    return fields[1], fields[2]


def _result(ok: bool, text: str) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise CallFailed("failed", "the daemon's answer is not understood", "are `mltbctl` and `mltbd` of one version?")
    if ok:
        return body
    raise CallFailed(
        str(body.get("code", "failed")),
        str(body.get("message", "the daemon gave no reason")),
        str(body.get("hint", "")),
        body,
    )
