"""The daemon as the guard's child: started, restarted with back-off, and spoken to over one channel each life."""

from __future__ import annotations

import math
import os
import select
import signal
import socket
from collections import deque
from collections.abc import Sequence
from typing import Any

from mltbd.orders import DATAGRAM_BYTES_MAX, FD_VARIABLE, channel, encode
from mltbd.processes import MARK, boottime_s
from mltbd.spawn import Command, Standing, spawn

ORDERS_MAX = 64
"""Orders read at once, so that deadlines are looked at in between."""
OUTBOX_MAX = 1024
"""Messages kept for a daemon that does not read. With one more it is killed, and the next one told afresh."""
DEAF_S = 5.0
"""How long a daemon may live that has closed its end of the channel."""
BACKOFF_FIRST_S = 0.1
"""Before the second restart in a row, doubled for each further one; before the first there is no pause."""
BACKOFF_S_MAX = 5.0
STEADY_S = 10.0
"""After a life this long the back-off starts anew."""


class DaemonChild:
    """`pid` and `channel` are None between two lives; `start_at` then says when the next one begins."""

    def __init__(self, argv: Sequence[str], standing: Standing) -> None:
        self.pid: int | None = None
        self.start_at: float | None = 0.0
        self.restarts = 0
        self.kept = ""
        """The configuration that the next life begins with; empty as long as no daemon has told one."""
        self._argv = argv
        self._standing = standing
        self._since = 0.0
        self._backoff_s = 0.0
        self._deaf_by = math.inf
        """Finite once it closed its end of the channel, until it is killed for that."""
        self._listens = False
        self._owes_reload = False
        self._channel: socket.socket | None = None
        self._outbox: deque[bytes] = deque()

    def start(self, greeting: dict[str, Any]) -> None:
        """Begins a life. It is greeted before it can look. OSError if there can be no process now."""
        try:
            ours, theirs = channel()
        except OSError:
            self.postpone()
            raise
        try:
            hello = {"is": "hello", "restarts": self.restarts, "configuration": self.kept, **greeting}
            ours.send(encode(hello))
            env = {name: value for name, value in os.environ.items() if name not in (MARK, "PYTHONDONTWRITEBYTECODE")}
            # Its bytecode is kept where it can be: after a crash it must be back before the lease ends.
            env[FD_VARIABLE] = str(theirs.fileno())
            command = Command(self._argv, env, keep_fd=theirs.fileno())
            self.pid = spawn(command, error_fd=2, standing=self._standing, adopt=None)
        except OSError:
            ours.close()
            self.postpone()
            raise
        finally:
            theirs.close()
        self._channel = ours
        self._listens = True
        self._since = boottime_s()
        self._deaf_by = math.inf
        self.start_at = None
        if self._owes_reload:
            self.reload()

    def reaped(self) -> None:
        """Ends a life, after its exit was seen and its last orders were read."""
        self.pid = None
        self._deaf_by = math.inf
        self._outbox.clear()
        if self._channel:
            self._channel.close()
            self._channel = None
        if boottime_s() - self._since >= STEADY_S:
            self._backoff_s = 0.0

    def postpone(self, *, wanted: bool = False) -> None:
        """Decides when the next life begins. `wanted`: the daemon asked for it, to read its configuration anew; that
        is no crash, and waits so little that many in a row cost no lease."""
        self.restarts += 1
        if wanted:
            self.start_at = boottime_s() + min(self._backoff_s, BACKOFF_FIRST_S)
            self._backoff_s = max(self._backoff_s, BACKOFF_FIRST_S)  # Who asks again and again must not spin.
        else:
            self.start_at = boottime_s() + self._backoff_s
            self._backoff_s = min(max(BACKOFF_FIRST_S, 2 * self._backoff_s), BACKOFF_S_MAX)

    def retire(self) -> None:
        """There will be no further life."""
        self.start_at = None

    def kill(self) -> None:
        if self.pid is not None:
            os.kill(self.pid, signal.SIGKILL)
        self._listens = False
        self._deaf_by = math.inf
        self._outbox.clear()

    def send(self, message: dict[str, Any]) -> None:
        """Kept until it can be sent, or until this life ends."""
        if not self._listens:
            return
        self._outbox.append(encode(message))
        self.flush()

    def reload(self) -> None:
        """Has it read its configuration anew; between two lives, the next one."""
        self._owes_reload = self.pid is None
        self.send({"is": "reload"})

    def flush(self) -> None:
        try:
            while self._outbox and self._channel:
                self._channel.send(self._outbox[0])
                self._outbox.popleft()
        except BlockingIOError:
            return
        except OSError:
            self._outbox.clear()  # The other end is closed; `receive` sees it too.

    def receive(self) -> list[bytes]:
        """Up to ORDERS_MAX datagrams; one that is too long comes as one byte more than is allowed."""
        orders: list[bytes] = []
        for _ in range(ORDERS_MAX):
            if not self._channel:
                break
            try:
                order = self._channel.recv(DATAGRAM_BYTES_MAX + 1)
            except BlockingIOError:
                break
            except ConnectionResetError:
                continue  # It has left news of ours unread, and that is said first; its last orders come after it.
            if order:
                orders.append(order)
                continue
            if self._listens:
                self._listens = False
                self._deaf_by = boottime_s() + DEAF_S
            break
        return orders

    def hopeless(self, now: float) -> bool:
        """Whether this life is worth nothing any more: it cannot hear us, or does not. False once it was killed."""
        return self.pid is not None and (now >= self._deaf_by or len(self._outbox) > OUTBOX_MAX)

    def due(self) -> float:
        """When it must be looked at if nothing else happens."""
        return self._deaf_by if self.start_at is None else self.start_at

    def register(self, poller: select.poll) -> None:
        if self._channel and self._listens:
            poller.register(self._channel, select.POLLIN | (select.POLLOUT if self._outbox else 0))
