"""Words to stderr from those who must never wait for whoever reads there: guard, sentinel and daemon."""

from __future__ import annotations

import os
import select
import socket
import stat
import sys

LINE_BYTES_MAX = 1024
_torn = False
"""Whether stderr took only half of our last line."""


def say(who: str, text: str) -> None:
    """One line, dropped if nobody reads, or reads any more."""
    write(f"{who}: {text}".encode(errors="replace")[: LINE_BYTES_MAX - 1] + b"\n")


def write(lines: bytes) -> bool:
    """To stderr what it takes at once; whether that was all. What follows half a line begins a new one."""
    global _torn
    if sys.stderr is None:
        return False  # We were started without one, so that 2 may be the number of any file.
    data = b"\n" + lines if _torn else lines
    try:
        taken = _taken(data)
    except OSError:
        return False
    if taken:
        _torn = data[taken - 1 : taken] != b"\n"
    return taken == len(data)


def _taken(data: bytes) -> int:
    """How many bytes of it stderr took at once."""
    kind = os.fstat(2).st_mode
    if stat.S_ISSOCK(kind):
        with socket.socket(fileno=os.dup(2)) as line:
            return line.send(data, socket.MSG_DONTWAIT)
    own = _own() if stat.S_ISFIFO(kind) or stat.S_ISCHR(kind) else None
    if own is None:
        return _in_pieces(data, select.PIPE_BUF if stat.S_ISFIFO(kind) else 1 if os.isatty(2) else len(data))
    try:
        return os.write(own, data)
    finally:
        os.close(own)


def _own() -> int | None:
    """A descriptor that never blocks for the same pipe or terminal: O_NONBLOCK on 2 would hold for all who have it. Not
    for a file, which each descriptor would write from its own beginning. None where there is none to be had."""
    try:
        return os.open("/proc/self/fd/2", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return None


def _in_pieces(data: bytes, most: int) -> int:
    """How many bytes fit, where what is ready to be written to takes `most` of them, and with more could wait."""
    poller = select.poll()
    poller.register(2, select.POLLOUT)
    taken = 0
    while taken < len(data) and any(event & select.POLLOUT for _, event in poller.poll(0)):
        taken += os.write(2, data[taken : taken + most])
    return taken
