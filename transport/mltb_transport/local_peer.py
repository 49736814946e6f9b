"""A daemon of this machine, by its socket: ZMTP spoken by the caller's own thread.

libzmq would put a thread of its own between caller and socket, two more changes of threads for each call, and cost a
command of the command line a fifth of its start. Measured: bench/README.md.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import time
from typing import TYPE_CHECKING, ClassVar

from mltb_transport.control import BROKEN_HANDSHAKES_MAX, POLL_MS_MAX, CallFailed, Unreachable
from mltb_transport.limits import WIRE_BYTES_MAX
from mltb_transport.zmtp import HELLO, Incoming, ZmtpError, framed

if TYPE_CHECKING:
    from mltb_transport.control import Endpoint

SEND_S = 1.0
"""How long a daemon may take nothing, with its socket full, before the connection is given up."""
AGAIN_S = 0.02
"""Pause before knocking again where too many do."""
READ_BYTES = 65536
_NOT_THERE = (errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR, errno.EACCES, errno.EPERM)
_NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)


class LocalPeer:
    """See control.Peer."""

    edges: ClassVar[bool] = False

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._open()

    def _open(self) -> None:
        self._incoming = Incoming(WIRE_BYTES_MAX)
        self._messages: list[bytes] = []
        self._over = False
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.setblocking(False)

    @property
    def files(self) -> tuple[int, ...]:
        return (self._socket.fileno(),)

    def shake_hands(self, deadline: float) -> None:
        """Who is being stopped hangs up: knock twice."""
        for left in range(BROKEN_HANDSHAKES_MAX - 1, -1, -1):
            self._connect(deadline)
            if self._greets(deadline):
                return
            self._socket.close()
            if left:
                self._open()
        path = self.endpoint.path
        raise Unreachable(f"whoever listens at `{path}` hangs up", "is `mltbd` starting or ending?")

    def send(self, message: bytes) -> bool:
        data = framed(message)
        try:
            sent = self._socket.send(data, _NO_SIGNAL)
        except BlockingIOError:
            sent = 0
        except OSError:
            return self._give_up()
        return sent == len(data) or self._send_rest(memoryview(data)[sent:])

    def take(self) -> list[bytes]:
        self._pull()
        messages, self._messages = self._messages, []
        return messages

    @property
    def lost(self) -> bool:
        self._pull()
        return self._over

    def close(self) -> None:
        # Loops that watch it have a descriptor of their own: without a word it would stay open for the daemon.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _pull(self) -> None:
        """Take in what is there."""
        while not self._over:
            try:
                data = self._socket.recv(READ_BYTES)
                self._messages += self._incoming.feed(data)
            except BlockingIOError:
                return
            except (OSError, ZmtpError):
                self._over = True
                return
            if len(data) < READ_BYTES:
                self._over = not data
                return

    def _send_rest(self, data: memoryview) -> bool:
        """A frame that is not whole does nothing at the other end: either all of it leaves, or the connection ends."""
        until = time.monotonic() + SEND_S
        while data:
            if not self._wait(select.POLLOUT, until):
                break
            try:
                data = data[self._socket.send(data, _NO_SIGNAL) :]
            except BlockingIOError:
                continue
            except OSError:
                break
        return not data or self._give_up()

    def _give_up(self) -> bool:
        """Nothing is sent any more; what has come is still there to be taken."""
        self._pull()
        self._over = True
        return False

    def _connect(self, deadline: float) -> None:
        while True:
            try:
                self._socket.connect(self.endpoint.path)
            except BlockingIOError:  # Too many wait to be let in.
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    raise self.endpoint.why_silent() from None
                time.sleep(min(AGAIN_S, left_s))
            except OSError as error:
                if error.errno in _NOT_THERE:
                    raise self.endpoint.why_silent() from None
                why = f"cannot connect to `{self.endpoint.text}`: {error.strerror or error}"
                raise CallFailed("usage", why) from error
            else:
                return

    def _greets(self, deadline: float) -> bool:
        """Whether the handshake comes to its end; False: it hung up."""
        if not self._say(HELLO):
            return False
        while not self._incoming.ready:
            if not self._wait(select.POLLIN, deadline):
                raise self.endpoint.why_silent()
            self._pull()
            if self._over:
                return False
        return True

    def _say(self, data: bytes) -> bool:
        try:
            return self._socket.send(data, _NO_SIGNAL) == len(data)
        except OSError:
            return False

    def _wait(self, event: int, until: float) -> bool:
        poller = select.poll()
        poller.register(self._socket.fileno(), event)
        return bool(poller.poll(min(max(0.0, until - time.monotonic()) * 1000, POLL_MS_MAX)))
