"""Finds and kills the processes of the demo, and no others: by a mark in their environment and by descent.

`python -m mltbctl.demo.sweep --mark MARK [--directory DIR]` ends all of one demo, as after `demo --keep`.
With `--when-stdin-ends` it waits for that first: the demo's last resort should it be killed itself.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

MARK_VARIABLE = "MLTB_DEMO_MARK"
"""In the environment of every process of a demo: `RUN/PART`, e.g. `mltb-demo-x1y2/n1`."""
SWEEP_S = 5.0
"""How long processes may take to vanish after SIGKILL before it is an error."""
KEEP = b"keep"
"""Said on stdin to a waiting sweep: end without killing."""
GROUP_PREFIX = "mltb."
"""How the names of control groups begin that a guard makes for a workload."""
_PAUSE_S = 0.01
_ENVIRONMENT_BYTES_MAX = 1 << 20


class StillAlive(Exception):
    """Processes outlived SIGKILL for `SWEEP_S`; the message lists them."""


def marked(mark: str) -> set[int]:
    """Pids of living processes whose mark is `mark` or a part of it. Those of other users are not seen."""
    needle = f"{MARK_VARIABLE}={mark}".encode()
    found = set()
    for pid in _pids():
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                variables = file.read(_ENVIRONMENT_BYTES_MAX).split(b"\0")
        except OSError:
            continue  # Gone, or another user's.
        if any(variable == needle or variable.startswith(needle + b"/") for variable in variables):
            found.add(pid)
    return {pid for pid in found if _parent(pid) is not None}


def descendants(root: int) -> set[int]:
    """Pids of living children of `root`, their children, and so on; without `root`."""
    children: dict[int, list[int]] = {}
    for pid in _pids():
        parent = _parent(pid)
        if parent is not None:
            children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    waiting = [root]
    while waiting:
        for child in children.get(waiting.pop(), []):
            if child not in found:
                found.add(child)
                waiting.append(child)
    return found


def kill_all(find: Callable[[], set[int]], first: Iterable[int] = ()) -> int:
    """SIGKILLs whatever `find` finds until it finds nothing, twice; those in `first` before the others.

    Returns how many were killed, never the caller. StillAlive when some do not go within `SWEEP_S`.
    """
    deadline = time.monotonic() + SWEEP_S
    order = list(first)
    killed: set[int] = set()
    empty = 0
    while empty < 2:
        # A process in the middle of an exec shows no environment for a moment: so look twice.
        found = find() - {os.getpid()}
        empty = 0 if found else empty + 1
        for pid in sorted(found, key=lambda pid: (pid not in order, pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            killed.add(pid)
        if found and time.monotonic() > deadline:
            raise StillAlive(f"still alive after SIGKILL: {', '.join(map(str, sorted(found)))}")
        if found:
            time.sleep(_PAUSE_S)
    return len(killed)


def control_groups(pid: int) -> list[Path]:
    """Directories of the control groups of this process that a guard made, by their names; where mounted here."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
        mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    except OSError:
        return []
    names = {line.split(":", 2)[2].lstrip("/") for line in lines}
    ours = [name for name in names if Path(name).name.startswith(GROUP_PREFIX)]
    roots = [Path(mount[4]) for mount in mounts if mount[mount.index("-") + 1] in ("cgroup", "cgroup2")]
    return [root / name for root in roots for name in ours if (root / name).is_dir()]


def _remove(groups: set[Path]) -> None:
    # A process that was killed holds its group until somebody has reaped it.
    deadline = time.monotonic() + SWEEP_S
    while groups and time.monotonic() < deadline:
        for group in list(groups):
            with contextlib.suppress(OSError):
                group.rmdir()
        groups = {group for group in groups if group.is_dir()}
        time.sleep(_PAUSE_S)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _parent(pid: int) -> int | None:
    """The parent of a living process; None when it is gone or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The command's name, in parentheses, may hold anything: count from behind it.
            state, parent = file.read().rpartition(b")")[2].split()[:2]
    except (OSError, ValueError):
        return None
    return None if state in (b"Z", b"X") else int(parent)


def main() -> None:
    """The command line described above."""
    parser = argparse.ArgumentParser(prog="python -m mltbctl.demo.sweep", description="end a demo's processes")
    parser.add_argument("--mark", required=True)
    parser.add_argument("--directory", type=Path, help="removed afterwards")
    parser.add_argument("--when-stdin-ends", action="store_true")
    given = parser.parse_args()
    if given.when_stdin_ends:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if sys.stdin.buffer.read().strip() == KEEP:
            return
    # Killed guards cannot give their control groups back.
    groups = {group for pid in marked(given.mark) for group in control_groups(pid)}
    killed = kill_all(lambda: marked(given.mark))
    _remove(groups)
    if given.directory is not None:
        shutil.rmtree(given.directory, ignore_errors=True)
    if not given.when_stdin_ends:
        print(f"ended {killed} processes of `{given.mark}`")


if __name__ == "__main__":
    main()
