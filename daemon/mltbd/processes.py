"""The process table, signals that hit the right process, and what Linux offers a parent."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass

LINUX = sys.platform == "linux"
MARK = "MLTB_RUN_ID"
"""The environment variable that marks every process of one run."""

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True) if LINUX else None
GONE = (FileNotFoundError, ProcessLookupError, PermissionError)
"""What looking at, or signalling, a process of somebody else's or of nobody's raises."""


def boottime_s() -> float:
    """Seconds since boot, time asleep included where the system can tell."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _prctl(option: int, argument: ctypes.c_ulong | bytes) -> None:
    if _libc and _libc.prctl(option, argument, *[ctypes.c_ulong(0)] * 3) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


def adopt_orphans() -> None:
    """From now on every orphaned descendant becomes a child of the caller instead of init's."""
    _prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1))


def die_with_parent(parent: int) -> None:
    """For a forked child: SIGKILL reaches it when `parent` dies; if that is dead already, it ends here."""
    _prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(127)


def rename(name: str) -> None:
    """The short name `ps` and `top` show for the caller, at most 15 bytes."""
    _prctl(_PR_SET_NAME, name.encode()[:15])


def lock_memory() -> bool:
    """Keep what the caller touches from being swapped out; False where that is not permitted."""
    current, future, on_fault = 1, 2, 4
    # Without the privilege a later allocation could fail at the limit, so it is not tried.
    if _libc is None or os.geteuid() != 0:
        return False
    return bool(_libc.mlockall(current | future | on_fault) == 0)


def read(path: str) -> bytes:
    """A whole file of /proc or /sys, which tell no size beforehand."""
    with open(path, "rb", buffering=0) as file:
        return file.readall()


@dataclass(frozen=True, slots=True)
class Process:
    """One row of the process table. `started` tells it from a later process with the same pid."""

    pid: int
    parent: int
    started: int

    def lives(self) -> bool:
        """Whether it is still in the table; a zombie is, since its threads may run on."""
        now = process(self.pid)
        return now is not None and now.started == self.started


def process(pid: int) -> Process | None:
    """The process with this pid, None when there is none."""
    try:
        text = read(f"/proc/{pid}/stat")
    except GONE:
        return None
    fields = text[text.rindex(b")") + 2 :].split()
    return Process(pid, parent=int(fields[1]), started=int(fields[19]))


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()] if LINUX else []


def processes() -> list[Process]:
    """Every process we may see; none where there is no /proc."""
    return [found for pid in _pids() if (found := process(pid)) is not None]


def descendants(roots: Iterable[int], table: Iterable[Process]) -> list[Process]:
    """Those roots that are in the table, and everything below them."""
    by_pid = {row.pid: row for row in table}
    children: dict[int, list[int]] = {}
    for row in by_pid.values():
        children.setdefault(row.parent, []).append(row.pid)
    found: dict[int, Process] = {}
    queue = list(roots)
    while queue:
        pid = queue.pop()
        if pid in by_pid and pid not in found:
            found[pid] = by_pid[pid]
            queue.extend(children.get(pid, ()))
    return list(found.values())


def mark_of(state_dir: str) -> str:
    """How the marks begin that belong to this state directory. By inode, not by path: two containers may each have the
    same path, and share a process table. OSError when it is not there."""
    place = os.stat(state_dir)
    return f"{place.st_dev:x}-{place.st_ino:x}."


def has_mark(pid: int, mark: str) -> bool:
    """Whether this process was started with a mark that begins with `mark`."""
    return f"\0{MARK}={mark}".encode() in b"\0" + _environment(pid)


def _environment(pid: int) -> bytes:
    """Empty where it cannot be told. Where the first thread has ended, which has none any more, that of another."""
    try:
        text = read(f"/proc/{pid}/environ")
    except PermissionError:
        return b""
    except GONE:  # Newer kernels say so where older ones show nothing.
        text = b""
    if text:
        return text
    try:
        others = [task for task in os.listdir(f"/proc/{pid}/task") if task != str(pid)]
    except GONE:
        return b""
    for task in others:
        with contextlib.suppress(*GONE):
            if text := read(f"/proc/{pid}/task/{task}/environ"):
                return text
    return b""


def marked(mark: str) -> list[Process]:
    """Every process whose mark begins with `mark`, whoever its parent and user are; never the caller."""
    pids = [pid for pid in _pids() if pid != os.getpid() and has_mark(pid, mark)]
    return [found for pid in pids if (found := process(pid)) is not None]


def send(target: Process, number: int) -> None:
    """Signal this very process, never a later one with its pid. Nothing happens if it is gone or not ours."""
    try:
        handle = os.pidfd_open(target.pid)
    except ProcessLookupError:
        return
    except OSError:
        handle = -1  # A kernel before 5.3, or a sandbox that forbids it.
    try:
        if not target.lives():
            return
        if handle >= 0:
            signal.pidfd_send_signal(handle, number)
        else:
            os.kill(target.pid, number)
    except GONE:
        return
    finally:
        if handle >= 0:
            os.close(handle)


def signal_group(root: int, number: int) -> None:
    """Signal an unreaped child and the group it leads, each once; it may lead none yet, or have left it."""
    with contextlib.suppress(*GONE):
        if os.getpgid(root) != root:
            os.kill(root, number)
    with contextlib.suppress(*GONE):
        os.killpg(root, number)


def group_exists(group: int) -> bool:
    """Whether a process group has members, unreaped ones included."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
