"""The second layer: a tiny forked process that ends the workloads when the guard is dead, stopped or starved.

Should it be stopped itself when that is due, its own timer continues it.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import struct
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import NoReturn

from mltb_transport.continuer import AGAIN_S, Continuer
from mltbd.processes import Process, boottime_s, descendants, process, processes, rename
from mltbd.say import say
from mltbd.spawn import open_fds, reset_signals
from mltbd.tree import Forest, clear

MARGIN_S = 0.1
"""How late the guard may be, at the most."""
POLL_S_MAX = 5.0
"""The clock of poll stands still while the machine sleeps, so it is not trusted for longer."""
SWEEP_S_MAX = 30.0
_MOMENT = struct.Struct("!d")


def margin_s(horizon_s: float) -> float:
    """How late the guard may be under leases of this length: well within the time the lease gives for killing."""
    return min(MARGIN_S, horizon_s / 10)


@dataclass(frozen=True, slots=True)
class Watched:
    """The guard, as its sentinel sees it, and where its trees are."""

    guard: Process
    mark: str
    directories: Collection[str]


class Sentinel:
    """The guard's side. `expect` moves the moment at which the sentinel stops trusting the guard."""

    def __init__(self, forest: Forest) -> None:
        directories = [forest.site.directory] if forest.site else []
        guard = process(os.getpid())
        self._watched = None if guard is None else Watched(guard, forest.mark, directories)
        self._kin = forest.kin
        self._pipe: int | None = None
        self.moment = math.inf
        self.pid: int | None = None

    def missing(self) -> bool:
        """Whether there is none; False where none is possible, for want of a /proc to find the trees in."""
        return self.pid is None and self._watched is not None

    def start(self) -> None:
        """Forks it, if one is possible. OSError if there is no fork."""
        if self._watched is None:
            return
        theirs, ours = os.pipe()
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self.pid = os.fork()
            if self.pid == 0:
                _watch(theirs, self._watched)
        except OSError:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.set_blocking(ours, False)
        self._pipe = ours
        self._kin.add(self.pid)
        self._tell()

    def expect(self, moment: float) -> None:
        """Trust the guard until then; `inf` when nothing runs that could outlive its lease."""
        if moment != self.moment:
            self.moment = moment
            self._tell()

    def _tell(self) -> None:
        if self._pipe is None:
            return
        try:
            os.write(self._pipe, _MOMENT.pack(self.moment))
        except (BrokenPipeError, BlockingIOError):
            self.kill()  # Dead, or stopped for thousands of renewals. Its exit brings a new one.

    def kill(self) -> None:
        if self.pid is not None:
            os.kill(self.pid, signal.SIGKILL)

    def reaped(self) -> None:
        """To be told after its exit was seen."""
        if self.pid is not None:
            self._kin.discard(self.pid)
        if self._pipe is not None:
            os.close(self._pipe)
        self.pid = self._pipe = None


def _watch(pipe: int, watched: Watched) -> NoReturn:
    late, continuer = False, Continuer()
    try:
        try:
            _prepare(pipe)
            late = os.getppid() == watched.guard.pid and _wait(pipe, continuer)
        except (OSError, ValueError) as error:
            if os.getppid() == watched.guard.pid:
                say("sentinel", repr(error))
                os._exit(0)  # The guard lives, and puts another in our place.
        family = _end(watched.guard) if late else []
        left = _sweep(watched, family, continuer)
        # Not a word before: to kill is what it is there for, and whoever reads stderr may be stopped as well.
        if late:
            say("sentinel", "the guard did not act in time: it and its workloads were killed")
        if left:
            say("sentinel", f"pids that do not die: {' '.join(map(str, sorted(left)))}")
    finally:
        os._exit(0)


def _prepare(pipe: int) -> None:
    os.setsid()  # A Ctrl-C in the guard's terminal is the guard's alone.
    reset_signals(signal.SIG_IGN)
    rename("mltb-sentinel")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    for fd in open_fds():
        if fd != pipe:
            with contextlib.suppress(OSError):  # The one that listed the directory.
                os.close(fd)
    os.set_blocking(pipe, False)


def _wait(pipe: int, continuer: Continuer) -> bool:
    """True when the guard is late, False when it is gone."""
    poller = select.poll()
    poller.register(pipe, select.POLLIN)
    moment = math.inf
    while True:
        now = boottime_s()
        continuer.set(max(moment, now))
        pause_s = min(max(0.0, moment - now), POLL_S_MAX if moment < math.inf else 60.0)
        poller.poll(math.ceil(pause_s * 1000))
        # Read before judging: if we were starved too, better news may be waiting.
        with contextlib.suppress(BlockingIOError):
            while news := os.read(pipe, 1024 * _MOMENT.size):
                moment = _MOMENT.unpack(news[-_MOMENT.size :])[0]
            return False
        if boottime_s() >= moment:
            return True


def _end(guard: Process) -> list[Process]:
    """Kill a guard that is late, and name what descends from it; once it is dead nobody could tell any more."""
    family: list[Process] = []
    with contextlib.suppress(OSError, ValueError):  # Where no file can be opened, it has to die all the same.
        family = [row for row in descendants([guard.pid], processes()) if row.pid not in (guard.pid, os.getpid())]
    if os.getppid() == guard.pid:  # While it is our parent nobody else has its pid.
        os.kill(guard.pid, signal.SIGKILL)
    return family


def _sweep(watched: Watched, family: list[Process], continuer: Continuer) -> set[int]:
    """End the trees of the guard and its family. Returns the pids that do not die."""
    until = boottime_s() + SWEEP_S_MAX
    left: set[int] = set()
    while True:
        continuer.set(boottime_s() + AGAIN_S)
        try:
            left = clear(watched.mark, watched.directories, AGAIN_S, family)
            if not left:
                return left
        except (OSError, ValueError):
            time.sleep(AGAIN_S)
        if boottime_s() >= until:
            return left
