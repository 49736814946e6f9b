"""Processes below this one: who they are, and how to end them all. Standard library only; imported by a forked child.

The guard has code of its own for this (mltbd.tree) and shares none with the command line: it must stay small enough
to be read in one sitting, keeps cgroups and marks that `lock run` has no use for, and no change here may touch it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterable
from typing import NamedTuple

LINUX = sys.platform == "linux"
SCANS_MAX = 8
"""Looks for newly forked processes within one round of killing; the next round goes on."""
_PR_SET_PDEATHSIG, _PR_SET_NAME, _PR_SET_CHILD_SUBREAPER = 1, 15, 36
_GONE = (FileNotFoundError, ProcessLookupError, PermissionError)


_libc = ctypes.CDLL(None)  # Here, once: a forked child would pay for it in copied pages.


def _prctl(option: int, argument: ctypes.c_ulong | bytes) -> None:
    if LINUX:
        _libc.prctl(option, argument, *[ctypes.c_ulong(0)] * 3)


def adopt_orphans() -> None:
    """From now on every orphaned descendant becomes a child of the caller instead of init's."""
    _prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1))


def die_with_parent(parent: int) -> None:
    """For a forked child: SIGKILL reaches it when `parent` dies; if that is dead already, it ends here."""
    _prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(127)


def rename(name: str) -> None:
    """The short name `ps` and `top` show for the caller."""
    _prctl(_PR_SET_NAME, name.encode()[:15])


class Process(NamedTuple):
    """One row of the process table. `started` tells it from a later process with the same pid."""

    pid: int
    parent: int
    started: int
    is_zombie: bool
    """Nothing of it runs any more. The kernel shows `Z` as soon as its first thread has ended; others may work on."""


def process(pid: int) -> Process | None:
    """The process with this pid, None when there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            text = file.readall()
    except OSError:
        return None
    fields = text[text.rindex(b")") + 2 :].split()
    ended, threads = fields[0] in (b"Z", b"X"), int(fields[17])
    return Process(pid, int(fields[1]), int(fields[19]), is_zombie=ended and threads <= 1)


def below(root: int) -> list[Process]:
    """Everything that descends from `root`, zombies included, without itself. Empty where there is no /proc."""
    try:
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []
    children: dict[int, list[Process]] = {}
    for pid in pids:
        row = process(pid)
        if row is not None:
            children.setdefault(row.parent, []).append(row)
    found: dict[int, Process] = {}
    queue = [root]
    while queue:
        for child in children.get(queue.pop(), []):
            if child.pid not in found:
                found[child.pid] = child
                queue.append(child.pid)
    return list(found.values())


def send(target: Process, number: int) -> None:
    """Signal exactly this process, never a later one with its pid; nothing where it is gone or not ours."""
    try:
        handle = os.pidfd_open(target.pid)
    except (OSError, AttributeError):
        handle = -1
    try:
        now = process(target.pid)
        if now is None or now.started != target.started:
            return
        if handle >= 0:
            signal.pidfd_send_signal(handle, number)
        else:
            os.kill(target.pid, number)
    except _GONE:
        return
    finally:
        if handle >= 0:
            os.close(handle)


def ask_to_end(rows: Iterable[Process]) -> None:
    """SIGTERM for each, and SIGCONT, since what is stopped does not hear it."""
    for row in rows:
        send(row, signal.SIGTERM)
        send(row, signal.SIGCONT)


def kill_below(root: int) -> bool:
    """One round of SIGKILL for all that descends from `root`; returns whether anything lives. Call it until not."""
    stopped: dict[int, Process] = {}
    for _ in range(SCANS_MAX):
        fresh = [row for row in below(root) if not row.is_zombie and row.pid not in stopped]
        if not fresh:
            break
        for row in fresh:
            send(row, signal.SIGSTOP)  # What is stopped cannot fork away from the scan.
            stopped[row.pid] = row
    for row in stopped.values():
        send(row, signal.SIGKILL)
    return bool(stopped)


def childless() -> bool:
    """Whether the caller has no child, not even an ended one. For one that adopts orphans: nothing descends from it."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True
    return False


def reap() -> list[tuple[int, int]]:
    """Every child that has ended: its pid and its exit code, or minus its signal."""
    ended: list[tuple[int, int]] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended.append((pid, os.waitstatus_to_exitcode(status)))
