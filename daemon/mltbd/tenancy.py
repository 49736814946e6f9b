"""Taking over a state directory: one guard at a time, and first of all the end of what the last one left."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time

from mltbd.cages import detect, sites_here
from mltbd.processes import boottime_s, mark_of
from mltbd.tree import Forest, clear

LEFTOVER_S = 10.0
"""How long what an earlier guard left behind may take to die before this one gives up."""
LOCK_S = 1.0
"""How long a dying guard may still hold the lock."""
NOTE_BYTES_MAX = 8192


class TenancyError(Exception):
    """The state directory is not free."""


def _lock(state_dir: str) -> tuple[int, str]:
    """The lock of a state directory, held until the process ends, and the place of the cages of its last holder."""
    fd = os.open(os.path.join(state_dir, "guard.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until = boottime_s() + LOCK_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            note = os.pread(fd, NOTE_BYTES_MAX, 0).decode(errors="surrogateescape")
            return fd, note.partition("\n")[2].partition("\n")[0]
        except BlockingIOError:
            if boottime_s() >= until:
                holder = os.pread(fd, NOTE_BYTES_MAX, 0).decode(errors="replace").partition("\n")[0]
                os.close(fd)
                raise TenancyError(f"another mltbd (pid {holder}) uses `{state_dir}`") from None
        time.sleep(0.01)


def _note(lock: int, text: bytes) -> None:
    """Who holds the lock, for whoever finds it taken, and where our cages are, for the next guard. In this order it
    needs no room where a note was before. A full disk is no reason not to run: then the next guard looks in the cgroups
    it sees itself."""
    with contextlib.suppress(OSError):
        os.pwrite(lock, text, 0)
        os.ftruncate(lock, len(text))


def take(state_dir: str, kill_path: str | None) -> tuple[Forest, int]:
    """A forest with nothing of an earlier guard left in it, and the lock that keeps it so while its process lives.

    OSError if the directory cannot be used, TenancyError if somebody uses it, KillPathError if `kill_path` is no good.
    """
    os.makedirs(state_dir, 0o700, exist_ok=True)
    lock, last = _lock(state_dir)
    state_mark = mark_of(state_dir)
    left = clear(state_mark, {last, *(site.directory for site in sites_here())} - {""}, LEFTOVER_S)
    if left:
        raise TenancyError(f"processes of an earlier run do not die: {' '.join(map(str, sorted(left)))}")
    mark = f"{state_mark}{os.urandom(4).hex()}."
    site = detect(mark, kill_path)
    _note(lock, os.fsencode(f"{os.getpid()}\n{site.directory if site else ''}\n"))
    return Forest(mark, site), lock
