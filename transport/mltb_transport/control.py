"""The caller's side of the control plane: the connection to the first daemon that answers, and what can go wrong.

Calls are made in channel.py. Start-up time of the command line is the reason why this module imports neither the
messages nor asyncio, and libzmq only for a daemon on another machine.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from mltb_transport.keys import Credential

CONNECT_S = 1.5
"""The most that one silent endpoint may take while others are left to try."""
ENDPOINTS_MAX = 32
BROKEN_HANDSHAKES_MAX = 2
POLL_MS_MAX = 2**31 - 1
"""What can be waited for in one go."""


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


class Peer(Protocol):
    """A connection to one daemon. For one thread at a time."""

    edges: ClassVar[bool]
    """Whether its files tell only what is new since somebody looked: then `take` has to follow every use."""
    endpoint: Endpoint

    @property
    def files(self) -> tuple[int, ...]:
        """Readable when there may be something to take, the first of them; any of them when it may be lost."""

    def shake_hands(self, deadline: float) -> None:
        """Returns when messages can be sent. Raises Unreachable, Denied or OSError."""

    def send(self, message: bytes) -> bool:
        """False: it does not reach the daemon, and nothing that follows would."""

    def take(self) -> list[bytes]:
        """The messages that have come."""

    @property
    def lost(self) -> bool:
        """Whether the other side has hung up."""

    def close(self) -> None:
        """Give everything back."""


def connect(endpoints: Sequence[str], credential: Credential | None, deadline: float) -> Peer:
    """A connection to the first of `endpoints` that completes a handshake.

    An endpoint is the path of a socket, or `host:port` of a control port (IPv6 in brackets). `credential`: None
    where the cluster runs without a secret; never used for paths. Raises Unreachable or Denied; this outweighs
    silence, for it names the cause.
    """
    if not 1 <= len(endpoints) <= ENDPOINTS_MAX:
        raise CallFailed("usage", f"1 to {ENDPOINTS_MAX} endpoints are needed, not {len(endpoints)}")
    known = [Endpoint(text) for text in endpoints]
    failures: list[ControlError] = []
    for left, endpoint in zip(range(len(known), 0, -1), known, strict=True):
        remaining = deadline - time.monotonic()
        share = remaining if left == 1 else min(CONNECT_S, remaining / left)
        peer: Peer | None = None
        try:
            peer = _peer(endpoint, credential)
            peer.shake_hands(time.monotonic() + max(0.0, share))
        except ControlError as error:
            failures.append(error)
        except OSError as error:
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


def unable(endpoint: str, error: OSError) -> Unreachable:
    """Where it is this process that can open no connection: for it has too many files open, say."""
    return Unreachable(f"no connection to `{endpoint}` can be made: {error.strerror or error}", "run `ulimit -n`")


def _peer(endpoint: Endpoint, credential: Credential | None) -> Peer:
    if endpoint.path:
        from mltb_transport.local_peer import LocalPeer

        return LocalPeer(endpoint)
    from mltb_transport.remote_peer import RemotePeer

    return RemotePeer(endpoint, credential)


class Endpoint:
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
            hint = "see its log, or ask another: `mltbctl -n NODE doctor`"
            return Unreachable(f"the daemon at `{self.path}` did not answer in time", hint)
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
