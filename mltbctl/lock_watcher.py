"""The parent of a command under `lock run`: ends it in time, whether or not the process that extends the lock lives.

Forked before anything else happens, with one thread, so that it may fork in turn. It trusts the lock up to the last
moment it was told of and not longer: SIGTERM for the whole tree some time before, SIGKILL at it. When `mltbctl` is
stopped, nothing new is told; when it is killed, the pipe ends. When this process is killed, the command dies with it
(parent-death signal) and what the command forked comes back to `mltbctl`, which ends that. Each of the two is continued
by a timer of its own when something is due, should it be stopped; and what strikes a whole process group strikes one.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import select
import signal
import struct
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple, NoReturn

from mltb_transport.continuer import Continuer
from mltbctl.clock import boottime
from mltbctl.process_table import (
    LINUX,
    adopt_orphans,
    ask_to_end,
    below,
    childless,
    die_with_parent,
    kill_below,
    reap,
    rename,
)

GRACE, GO, TRUST, PASS_ON, TYPED, END = range(6)
"""What it is told: ask the command to end so many seconds before the end of trust, begin (token, until), trust the lock
until, pass a signal on, pass on one of the terminal to a command that has left the group and did not get it, end
everything now."""
MESSAGE = struct.Struct("!Bqd")
REPORT = struct.Struct("!iB")
"""What it tells at the end: the exit code, or NOT_BEGUN, and why: one of EXITED, LATE, LEFT_ALONE, ENDED."""
EXITED, LATE, LEFT_ALONE, ENDED = range(4)
NOT_BEGUN = -1
"""The code of a command that was told to begin too late, or to end before that."""
ROUND_S, ROUND_S_MAX = 0.01, 0.25
"""Pause between two rounds of killing; it grows where something does not die."""
NAP_S_MAX = 0.25
"""poll's clock stands still while the machine sleeps, so it is not trusted for longer."""
NOT_EXECUTABLE, NOT_FOUND = 126, 127
_QUIET = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)


class Errand(NamedTuple):
    """What to run."""

    argv: Sequence[str]
    env: Mapping[str, str]
    token_variable: str


class Watcher:
    """The caller's side: its process, and the pipes to it and from it."""

    def __init__(self, errand: Errand) -> None:
        """Forks it. Before any thread is started and any socket opened."""
        orders, self._orders = os.pipe()
        self._reports, reports = os.pipe()
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self.pid = os.fork()
            if self.pid == 0:
                os.close(self._orders)
                os.close(self._reports)
                _watch(errand, orders, reports, mask)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(orders)
        os.close(reports)
        os.set_blocking(self._orders, False)

    def tell(self, kind: int, number: int = 0, moment: float = 0.0) -> None:
        """One message. It is lost where nobody lives to read it, which is noticed elsewhere."""
        with contextlib.suppress(OSError):
            os.write(self._orders, MESSAGE.pack(kind, number, moment))

    def report(self) -> tuple[int, int] | None:
        """Exit code and reason, once it has ended; None when it ended without a word."""
        told = os.read(self._reports, REPORT.size)
        return REPORT.unpack(told) if len(told) == REPORT.size else None

    def close(self) -> None:
        orders, self._orders = self._orders, -1  # A late `tell` must not write into a file opened since.
        os.close(orders)
        os.close(self._reports)


def _watch(errand: Errand, orders: int, reports: int, mask: set[int | signal.Signals]) -> NoReturn:
    code = 1
    try:
        ignored = [number for number in _QUIET if signal.getsignal(number) == signal.SIG_IGN]
        adopt_orphans()
        rename("mltb-lock")
        code = _Watch(errand, orders, _Origin(ignored, mask)).run(reports)
    except OSError as error:
        _say(f"error: the watcher of the command failed: {error}")
        end_below(os.getpid())
    finally:
        os._exit(code)


class _Origin(NamedTuple):
    """What the command gets back that its parent has changed for itself."""

    ignored: Sequence[signal.Signals]
    mask: set[int | signal.Signals]


class _Watch:
    def __init__(self, errand: Errand, orders: int, origin: _Origin) -> None:
        self._errand = errand
        self._orders = orders
        self._origin = origin
        self._grace_s = 0.0
        self._until = math.inf
        self._root = 0
        self._group = os.getpgrp()
        self._code: int | None = None
        self._reason = EXITED
        self._asked = False
        self._kill_at = math.inf
        self._continuer = Continuer()
        os.set_blocking(orders, False)
        self._wake, waker = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(waker, False)
        for number in _QUIET:
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def run(self, reports: int) -> int:
        """Until the whole tree is gone; returns the exit code of the command."""
        while self._code is None:
            self._wait()
            self._hear()
            if not self._root and self._reason == LEFT_ALONE:
                return 0  # It never began.
            self._reap()
            self._judge(boottime())
        # What the command leaves behind must not outlive the lock either.
        end_below(os.getpid())
        with contextlib.suppress(BrokenPipeError):
            os.write(reports, REPORT.pack(self._code, self._reason))
        return self._code

    def _wait(self) -> None:
        poller = select.poll()
        poller.register(self._wake, select.POLLIN)
        if self._reason != LEFT_ALONE:
            poller.register(self._orders, select.POLLIN)
        due = self._kill_at if self._asked else self._until - self._grace_s
        now = boottime()
        if due < math.inf:
            self._continuer.set(max(due, now + ROUND_S))
        pause_s = min(due - now, NAP_S_MAX if self._root else math.inf)
        poller.poll(None if pause_s == math.inf else math.ceil(max(0.0, pause_s) * 1000))
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake, 4096)

    def _hear(self) -> None:
        if self._reason == LEFT_ALONE:
            return
        try:
            news = os.read(self._orders, 1024 * MESSAGE.size)
        except BlockingIOError:
            return
        if not news:
            self._end(LEFT_ALONE)
            return
        for kind, number, moment in MESSAGE.iter_unpack(news):
            if kind == GRACE:
                self._grace_s = moment
            elif kind == GO:
                self._until = moment
                if boottime() >= moment - self._grace_s:
                    self._code, self._reason = NOT_BEGUN, LATE
                    return
                self._root = self._start(number)
            elif kind == TRUST:
                self._until = max(self._until, moment)
            elif kind in (PASS_ON, TYPED):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    if kind == PASS_ON or os.getpgid(self._root) != self._group:
                        os.kill(self._root, number)
            elif kind == END and not self._root:
                self._code, self._reason = NOT_BEGUN, LATE
                return
            elif kind == END:
                self._until = min(self._until, boottime())
                self._end(ENDED)

    def _reap(self) -> None:
        for pid, status in reap():
            if pid == self._root:
                self._code = status if status >= 0 else 128 - status

    def _judge(self, now: float) -> None:
        if self._code is not None:
            return
        if not self._asked and now >= self._until - self._grace_s:
            self._end(LATE)
        # An extension that comes now is too late: half a command is no command.
        if self._asked and now >= self._kill_at:
            kill_below(os.getpid())
            if not LINUX:
                os.kill(self._root, signal.SIGKILL)
            self._kill_at = now + ROUND_S_MAX if now > self._until + 1 else now + ROUND_S

    def _end(self, reason: int) -> None:
        if self._asked or not self._root:
            self._reason = reason
            return
        self._reason, self._asked = reason, True
        self._kill_at = min(self._until, boottime() + self._grace_s)
        ask_to_end(below(os.getpid()))
        if not LINUX:
            os.kill(self._root, signal.SIGTERM)

    def _start(self, token: int) -> int:
        parent = os.getpid()
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        pid = os.fork()
        if pid == 0:
            _become(self._errand, token, self._origin, parent)
        # The command stays in the process group of mltbctl, and what kills or stops that group spares this process. In
        # a session of its own, not only in a group: a command with a parent in another group of its session would, when
        # it ends beside a stopped mltbctl, have the kernel hang up the group.
        os.setsid()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return pid


def end_below(root: int) -> None:
    """Kill all that descends from `root`, which is the caller and adopts orphans, and reap it. Waits for what does not
    die."""
    if childless():
        return  # Spares a look at every process of the machine.
    pause_s = ROUND_S
    while kill_below(root):
        reap()
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, ROUND_S_MAX)
    reap()


def _become(errand: Errand, token: int, origin: _Origin, parent: int) -> NoReturn:
    code = NOT_EXECUTABLE
    try:
        die_with_parent(parent)
        signal.set_wakeup_fd(-1)
        for number in (*_QUIET, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_IGN if number in origin.ignored else signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, origin.mask)
        env = {**errand.env, errand.token_variable: str(token)}
        os.execvpe(errand.argv[0], list(errand.argv), env)
    except OSError as error:
        code = NOT_FOUND if error.errno in (errno.ENOENT, errno.ENOTDIR) else NOT_EXECUTABLE
        _say(f"error: cannot run `{errand.argv[0]}`: {(error.strerror or str(error)).lower()}")
    finally:
        os._exit(code)


def _say(text: str) -> None:
    with contextlib.suppress(OSError):
        os.write(2, f"{text}\n".encode(errors="replace"))
