"""The service manager above the guard (sd_notify): it trusts the guard's pid alone, so the guard speaks for the daemon.

The address is taken out of the environment: neither daemon nor workload ever sees it, so no workload can keep a node
that hangs alive.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterable, MutableMapping

VARIABLE = "NOTIFY_SOCKET"


class Supervisor:
    """Takes the manager's address out of `environ`. Without one, or when it does not listen, `tell` has no effect."""

    def __init__(self, environ: MutableMapping[str, str] = os.environ) -> None:
        address = environ.pop(VARIABLE, "")
        # A leading `@` stands for the zero byte of an abstract address.
        self._address = ("\0" + address[1:] if address[:1] == "@" else address) if address[:1] in ("/", "@") else ""

    @property
    def listens(self) -> bool:
        """Whether somebody asked to be told."""
        return bool(self._address)

    def tell(self, lines: Iterable[str]) -> None:
        """Assignments such as `READY=1`, in one datagram. Dropped rather than waited for."""
        if self._address:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
                end.setblocking(False)
                end.sendto("\n".join(lines).encode(errors="replace"), self._address)
