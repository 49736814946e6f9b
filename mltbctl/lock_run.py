"""`mltbctl lock run`: a command that runs only while a lock is held, and is dead before the lock can be lost.

Three processes: this one holds and extends the lock, passes signals on and is the second layer; the watcher
(mltbctl/lock_watcher.py) is the command's parent and ends it in time; the command.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mltb_transport.continuer import Continuer
from mltbctl.clock import boottime
from mltbctl.errors import CliError, LockLost, LockNotAcquired
from mltbctl.lock_asking import check, explained, stoppable
from mltbctl.lock_watcher import (
    END,
    ENDED,
    EXITED,
    GO,
    GRACE,
    LATE,
    NOT_BEGUN,
    PASS_ON,
    TRUST,
    TYPED,
    Errand,
    Watcher,
    end_below,
)
from mltbctl.process_table import adopt_orphans, kill_below, reap

if TYPE_CHECKING:
    from mltbctl.client import Client
    from mltbctl.lock_keeper import Lock
    from mltbctl.locks import HeldLock
    from mltbctl.session import Session

TTL_S_MIN = 1.0
"""A shorter one leaves no time to end a command."""
GRACE_S_MAX = 5.0
RESERVE_S_MAX = 1.0
"""What is kept back for killing a tree and for the second layer, after the command should be dead."""
LOOK_S_MIN, LOOK_S_MAX = 0.05, 5.0
"""How often the second layer looks at the clock."""
TOKEN_VARIABLE, NAME_VARIABLE = "MLTB_LOCK_TOKEN", "MLTB_LOCK_NAME"
_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_FROM_TERMINAL = 0x80
"""si_code of a signal the kernel made."""


def grace_s(ttl: float) -> float:
    """Between SIGTERM and SIGKILL; well within what an extension at a third of the time leaves."""
    return min(GRACE_S_MAX, ttl / 4)


def run(
    session: Session,
    name: str,
    argv: Sequence[str],
    *,
    ttl: float | None,
    wait: float,
    delay: float | None,
    holder: str,
) -> int:
    """Hold `name` and run `argv`; returns its exit code, 128+n for a signal. LockLost when it had to be ended."""
    if not argv[0]:
        raise CliError("the command to run is an empty word", "run `mltbctl lock run --help`", code="usage")
    check("run", ttl=ttl, ttl_min=TTL_S_MIN, wait=wait, delay=delay)
    environ = {**os.environ, NAME_VARIABLE: name}
    # Before the first thread and the first socket: a process that has neither can be forked safely.
    watcher = Watcher(Errand(argv, environ, TOKEN_VARIABLE))
    continuer = Continuer()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        with session.client() as client:
            lock = _lock(client, watcher, continuer, name, ttl, wait, delay, holder)
            try:
                # Blocked until somebody passes them on: at no moment may one end us and leave the lock taken.
                with stoppable(client, hold=_PASSED_ON) as stop:
                    lock.acquire()
            except LockNotAcquired as error:
                raise explained(error) from None
            try:
                stop.check()
                session.tell_endpoint(client)
                if lock.held.ttl < TTL_S_MIN:  # It is the node's, then.
                    why = f"a lock of {lock.held.ttl:g} s, as this node gives, leaves no time to end a command"
                    raise CliError(why, f"run it with `--ttl {TTL_S_MIN:g}` or more", code="usage")
                return _Run(watcher, lock, continuer).to_the_end()
            finally:
                lock.close()
    finally:
        watcher.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _lock(
    client: Client,
    watcher: Watcher,
    continuer: Continuer,
    name: str,
    ttl: float | None,
    wait: float,
    delay: float | None,
    holder: str,
) -> Lock:
    from mltbctl.lock_keeper import Lock
    from mltbctl.operator_name import operator_name

    def tell(until: float) -> None:
        watcher.tell(TRUST, moment=until)
        continuer.set(_last_moment(lock.held))

    lock = Lock(
        client.locks,
        name,
        ttl=ttl,
        wait=wait,
        delay=delay,
        holder=holder or f"{operator_name()}:{os.getpid()}",
        reserve_s_max=RESERVE_S_MAX,
        tell=tell,
    )
    lock.lost.then(lambda: watcher.tell(END))
    return lock


def _last_moment(held: HeldLock) -> float:
    """When the watcher must have ended everything, the lock not having been extended."""
    return held.until + held.reserve_s / 3


def _kind(info: signal.struct_siginfo) -> int:
    """Of what the terminal sends the group has its own; but its hang-up only the first process of the session."""
    return TYPED if info.si_code == _FROM_TERMINAL and info.si_signo != signal.SIGHUP else PASS_ON


class _Run:
    """From the acquired lock to the end of the command."""

    def __init__(self, watcher: Watcher, lock: Lock, continuer: Continuer) -> None:
        self._watcher = watcher
        self._lock = lock
        self._continuer = continuer

    def to_the_end(self) -> int:
        heeded = {number for number in _PASSED_ON if signal.getsignal(number) != signal.SIG_IGN}
        # Before the thread that extends is started: it must inherit this, or a signal could end us there.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {*heeded, signal.SIGCHLD})
        try:
            adopt_orphans()
            held = self._lock.held
            if boottime() >= held.until - grace_s(held.ttl):  # We stood still since the grant.
                raise self._not_begun()
            self._watcher.tell(GRACE, moment=grace_s(held.ttl))
            self._lock.keep()  # Before the command begins: where there is no thread to be had, nothing has begun.
            self._watcher.tell(GO, held.token, held.until)
            self._continuer.set(_last_moment(held))
            while not self._ended():
                info = signal.sigtimedwait({*heeded, signal.SIGCHLD}, self._look_s())
                if info is not None and info.si_signo in heeded:
                    self._watcher.tell(_kind(info), info.si_signo)
                self._second_layer()
            return self._close()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _ended(self) -> bool:
        return any(pid == self._watcher.pid for pid, _ in reap())

    def _left_s(self) -> float:
        return _last_moment(self._lock.held) - boottime()

    def _look_s(self) -> float:
        return min(max(self._left_s(), LOOK_S_MIN), LOOK_S_MAX)

    def _second_layer(self) -> None:
        """The watcher may be stopped and miss the end of the lock: then it is ended with all below it."""
        if self._left_s() <= 0:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._watcher.pid, signal.SIGKILL)
            kill_below(os.getpid())

    def _close(self) -> int:
        report = self._watcher.report()
        # A watcher that was killed leaves its command's children to us.
        end_below(os.getpid())
        lost = self._lock.close()
        if report is None:
            raise lost or CliError("the watcher of the command was killed, and the command with it")
        code, reason = report
        if code == NOT_BEGUN:
            raise self._not_begun()
        if reason in (LATE, ENDED):
            if lost is not None:
                what = lost.message
            elif self._lock.extended:
                what = f"the lock `{self._lock.name}` could not be extended in time"
            else:
                from mltbctl.lock_keeper import NOT_EXTENDED

                what = f"the lock `{self._lock.name}` ended: {NOT_EXTENDED}"
            raise LockLost(f"{what}; the command was ended", f"run `mltbctl lock show {self._lock.name}`")
        if lost is not None:
            raise lost
        if reason != EXITED:
            raise CliError("the watcher of the command lost its line to `mltbctl`; the command was ended")
        return code

    def _not_begun(self) -> LockLost:
        what = f"the time of the lock `{self._lock.name}` was over before the command could begin; it was not begun"
        return LockLost(what, f"run `mltbctl lock show {self._lock.name}`")
