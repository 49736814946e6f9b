"""A configuration that is wrong when a daemon starts, and none is kept that it could go on with (kept.py). It ends the
first daemon of a guard, and each later one reads it again until it is right: what is half written when it is read, or
stays wrong until a person comes, must end neither a node that was well nor a workload whose lease still runs.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Iterator, Mapping

from mltbd.daemon_child import BACKOFF_FIRST_S, BACKOFF_S_MAX
from mltbd.orders import DATAGRAM_BYTES_MAX, EXIT_ANEW, EXIT_CONFIG, FD_VARIABLE, encode
from mltbd.runtime.notify import feed_s

Judged = tuple[list[str], bool]
"""What there is to say of a configuration, and whether a daemon can run with it."""


def outlast(
    read: Callable[[], Judged], told: list[str], say: Callable[[list[str]], None], environ: Mapping[str, str]
) -> int:
    """The exit code of a daemon whose configuration is wrong. `told`: what was said of it; said again once it changes.

    Once it is right another daemon starts with it, as after a reload: this one may be of an older program.
    """
    guard = _guard(environ)
    if guard is None:
        return EXIT_CONFIG
    say(["the configuration is read again until it is right"])
    pause_s = pauses_s(environ)
    with guard:
        while True:
            guard.settimeout(next(pause_s))
            with contextlib.suppress(TimeoutError):
                match _heard(guard):
                    case "stop" | "":
                        return 0
                    case "reload":
                        return EXIT_ANEW
            words, right = read()
            if right:
                say(["the configuration is right again"])
                return EXIT_ANEW
            if words != told:
                say(words)
                told = words
            # A node that waits for a person is not one that hangs.
            guard.send(encode({"do": "tell", "lines": ["WATCHDOG=1", "STATUS=waits for a right configuration"]}))


def pauses_s(environ: Mapping[str, str]) -> Iterator[float]:
    """Between two looks at the file: as between two crashes, but never longer than a watchdog waits for its food."""
    most_s = min(BACKOFF_S_MAX, feed_s(environ) or BACKOFF_S_MAX)
    pause_s = BACKOFF_FIRST_S
    while True:
        yield min(pause_s, most_s)
        pause_s = min(2 * pause_s, most_s)


def _guard(environ: Mapping[str, str]) -> socket.socket | None:
    """The line to a guard that has had a daemon before this one. Each is greeted as it starts."""
    if FD_VARIABLE not in environ:
        return None
    guard = socket.socket(fileno=int(environ[FD_VARIABLE]))
    hello = guard.recv(DATAGRAM_BYTES_MAX)
    if hello and json.loads(hello)["restarts"]:
        return guard
    guard.close()
    return None


def _heard(guard: socket.socket) -> str:
    """What the next report is about; empty once the guard is gone."""
    datagram = guard.recv(DATAGRAM_BYTES_MAX)
    return str(json.loads(datagram)["is"]) if datagram else ""
