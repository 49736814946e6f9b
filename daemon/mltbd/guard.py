"""The guard: the small parent of daemon and workloads that makes "run once" true. One thread, standard library only.

It lets a workload run until the deadline the daemon armed it with and no longer, whatever the daemon does. Signal
handlers only wake the loop; one pass of it reads signals, exits and orders, and then looks at the clock. Should it be
stopped when something is due for a workload, its own timer continues it.
"""

from __future__ import annotations

import contextlib
import gc
import math
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mltb_transport.continuer import Continuer
from mltbd.alarm import Alarm
from mltbd.cages import KillPathError
from mltbd.daemon_child import DaemonChild
from mltbd.orders import (
    EXIT_ANEW,
    EXIT_CONFIG,
    EXIT_FAILED,
    EXIT_FATAL,
    Arm,
    Hello,
    Keep,
    Order,
    OrderError,
    Start,
    Stop,
    Tell,
    decode,
)
from mltbd.processes import adopt_orphans, boottime_s, descendants, lock_memory, processes, send
from mltbd.runs import Run
from mltbd.say import say
from mltbd.sentinel import Sentinel, margin_s
from mltbd.spawn import Standing, close_on_exec, has_terminal, heed_signals
from mltbd.supervisor import Supervisor
from mltbd.tenancy import TenancyError, take
from mltbd.tree import Forest

WORKLOADS_MAX = 64
"""Different workloads in one life of the guard."""
PATIENCE_S = 15.0
"""For a graceful end, until the daemon's hello says how long it really needs."""
POLL_S = 0.05
"""Without an alarm, poll's clock is trusted no longer while anything runs: it stands still in the machine's sleep."""
SENTINEL_PAUSE_S = 0.05
IDLE_S = 60.0
URGENT_S = 0.5
"""What the second signal leaves a workload between SIGTERM and SIGKILL."""
FAREWELL_S = 2.0
PKILL_WORDS = ("gunicorn", "aria2c", "qbittorrent-nox", "ffmpeg", "rclone", "java", "sabnzbdplus", "7z", "split")
"""Some bots kill every process whose command line has one of these words anywhere."""


def log(text: str) -> None:
    say("guard", text)


@dataclass(slots=True)
class Lease:
    """The highest token seen for a workload, and until when it may run. Every lower token is sealed."""

    token: int
    deadline: float


class Guard:
    """Everything the guard knows. To be made and served by the only thread of a process."""

    def __init__(self, daemon_argv: Sequence[str], forest: Forest, standing: Standing) -> None:
        self._forest = forest
        self._standing = standing
        self._supervisor = Supervisor()
        self._terminal = has_terminal()
        self._daemon = DaemonChild(daemon_argv, standing)
        self._sentinel = Sentinel(forest)
        self._sentinel_at = 0.0
        self._leases: dict[str, Lease] = {}
        self._runs: dict[str, Run] = {}
        self._garbage = 0
        self._unstarted = 0
        """How often in a row a child could not be forked."""
        self._horizon_s = 0.0
        self._patience_s = PATIENCE_S
        self._give_up_at = math.inf
        """Finite once the daemon was asked to stop."""
        self._exit: int | None = None
        """Set once everything is being stopped: what the guard will exit with."""
        self._alarm = Alarm()
        self._continuer = Continuer()
        self._wake, self._waker = socket.socketpair()
        for end in (self._wake, self._waker):
            end.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)  # First: a handler alone tells nobody.
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN or number != signal.SIGHUP:  # Left so by `nohup`.
                signal.signal(number, lambda *_: None)

    def serve(self) -> int:
        """Runs until everything the guard started is gone; returns its exit code."""
        while self._exit is None or self._runs:
            self._revive(boottime_s())
            self._wait(boottime_s())
            for number in self._signals():
                self._interrupted(number)
            self._reap()
            for datagram in self._daemon.receive():
                self._hear(datagram)
            self._daemon.flush()
            now = boottime_s()
            if self._daemon.hopeless(now):
                log("the daemon does not listen: killed")
                self._daemon.kill()
            if self._exit is None and now >= self._give_up_at:
                log("the daemon takes too long to stop")
                self._stop_all(0)
            self._advance()
        self._farewell()
        return self._exit

    # -- what the loop waits for

    def _wait(self, now: float) -> None:
        poller = select.poll()
        poller.register(self._wake, select.POLLIN)
        self._daemon.register(poller)
        moments = [self._daemon.due(), self._give_up_at if self._exit is None else math.inf]
        if self._sentinel.missing():
            moments.append(self._sentinel_at)
        due = min((run.due() for run in self._runs.values()), default=math.inf)
        moments.append(due)
        self._continuer.set(max(due, now))
        for run in self._runs.values():
            if run.trouble_fd is not None:
                poller.register(run.trouble_fd, select.POLLIN)
        self._alarm.set(min(moments))
        if self._alarm.fd is not None:
            poller.register(self._alarm.fd, select.POLLIN)
        pause_s = min(POLL_S if self._runs and self._alarm.fd is None else IDLE_S, min(moments) - now)
        poller.poll(math.ceil(max(0.0, pause_s) * 1000))

    def _signals(self) -> bytes:
        try:
            return self._wake.recv(4096)
        except BlockingIOError:
            return b""

    def _reap(self) -> None:
        while True:
            try:
                pid, wait_status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if os.WIFSTOPPED(wait_status):
                if pid == self._sentinel.pid:
                    self._sentinel.kill()  # When it woke it would judge us by old news.
                continue
            status = os.waitstatus_to_exitcode(wait_status)
            if pid == self._daemon.pid:
                self._daemon_ended(status)
            if pid == self._sentinel.pid:
                log(f"the sentinel ended with {status}")
                self._sentinel.reaped()
                self._sentinel_at = boottime_s() + SENTINEL_PAUSE_S
            for run in self._runs.values():
                run.reaped(pid, status)

    # -- the daemon and the sentinel

    def _revive(self, now: float) -> None:
        """Starts the children that are due. What cannot be forked now is tried again later."""
        try:
            if self._sentinel.missing() and now >= self._sentinel_at:
                self._sentinel_at = now + SENTINEL_PAUSE_S
                self._sentinel.start()
                self._unstarted = 0
            if self._daemon.start_at is not None and now >= self._daemon.start_at:
                self._daemon.start(
                    {
                        "kill_path": self._forest.path,
                        "supervised": self._supervisor.listens,
                        "workloads": [run.describe() for run in self._runs.values()],
                    }
                )
                self._unstarted = 0
                self._forest.kin.add(self._daemon.pid or 0)
        except OSError as error:
            self._unstarted += 1
            if self._unstarted.bit_count() == 1:  # As with garbage: a sentinel is tried again twenty times a second.
                log(f"cannot start a process, attempt {self._unstarted}: {error.strerror}")

    def _daemon_ended(self, status: int) -> None:
        while datagrams := self._daemon.receive():
            for datagram in datagrams:
                self._hear(datagram)
        self._forest.kin.discard(self._daemon.pid or 0)
        self._daemon.reaped()
        if self._exit is not None:
            return  # Everything is being stopped already.
        if status in (EXIT_CONFIG, EXIT_FATAL):
            self._stop_all(EXIT_CONFIG if status == EXIT_CONFIG else EXIT_FAILED)
        elif self._give_up_at < math.inf:
            self._stop_all(0)
        else:
            self._daemon.postpone(wanted=status == EXIT_ANEW)
            wait_s = max(0.0, self._daemon.due() - boottime_s())
            log(f"the daemon ended with {status}: restart in {wait_s:.1f} s")

    def _interrupted(self, number: int) -> None:
        if number == signal.SIGHUP and not self._terminal:
            self._daemon.reload()  # From a terminal it means that the terminal is gone: a stop.
            return
        if number not in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            return
        self._supervisor.tell(["STOPPING=1", "STATUS=stops"])
        if self._give_up_at == math.inf and self._exit is None:
            self._give_up_at = boottime_s() + self._patience_s
            self._daemon.send({"is": "stop"})
            self._daemon.retire()
            if self._daemon.pid is None:
                self._stop_all(0)
        else:
            self._stop_all(128 + number, URGENT_S)

    def _stop_all(self, code: int, timeout_s: float = math.inf) -> None:
        self._exit = code
        self._daemon.retire()
        for run in self._runs.values():
            until = boottime_s() + min(run.start.stop_timeout_s, timeout_s)
            run.end("stopped", until, hurry=timeout_s < math.inf)

    def _farewell(self) -> None:
        """Ends daemon, sentinel and whatever else came back to us."""
        self._daemon.kill()
        self._sentinel.kill()
        until = boottime_s() + FAREWELL_S
        while boottime_s() < until:
            with contextlib.suppress(OSError):  # Where no file can be opened, the two above end all the same.
                table = processes()
                for row in descendants([row.pid for row in table if row.parent == os.getpid()], table):
                    send(row, signal.SIGKILL)
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                return
            time.sleep(0.002)

    # -- orders and deadlines

    def _hear(self, datagram: bytes) -> None:
        try:
            self._obey(decode(datagram))
        except OrderError as error:
            self._garbage += 1
            if self._garbage.bit_count() == 1:  # The first, the second, the fourth, ...
                log(f"order {self._garbage} ignored: {error}")

    def _obey(self, order: Order) -> None:
        match order:
            case Hello():
                self._horizon_s, self._patience_s = order.horizon_s, order.patience_s
            case Keep():
                self._daemon.kept = order.configuration
            case Arm():
                self._arm(order)
            case Start():
                refusal = self._refusal(order)
                if refusal is None:
                    refusal = self._start(order)
                if refusal is not None:
                    name = {"workload": order.workload, "token": order.token}
                    self._daemon.send({"is": "failed", **name, "error": refusal})
            case Stop():
                run = self._runs.get(order.workload)
                if run is None or run.start.token != order.token:
                    raise OrderError(f"`{order.workload}` does not run with token {order.token}")
                run.end("stopped", boottime_s() + run.start.stop_timeout_s)
            case Tell():
                self._supervisor.tell(order.lines)

    def _arm(self, order: Arm) -> None:
        if order.deadline > boottime_s() + self._horizon_s:
            raise OrderError(f"the deadline of `{order.workload}` is beyond the horizon of {self._horizon_s:g} s")
        lease = self._leases.get(order.workload)
        if lease is None or order.token > lease.token:
            if lease is None and len(self._leases) >= WORKLOADS_MAX:
                raise OrderError(f"more than {WORKLOADS_MAX} workloads")
            self._leases[order.workload] = lease = Lease(order.token, order.deadline)
        if order.token < lease.token:
            raise OrderError(f"token {order.token} of `{order.workload}` is sealed: {lease.token} was seen")
        lease.deadline = max(lease.deadline, order.deadline)
        run = self._runs.get(order.workload)
        if run is not None and run.start.token == order.token:
            run.extend(order.deadline)

    def _refusal(self, order: Start) -> str | None:
        """Why this may not start now."""
        lease = self._leases.get(order.workload)
        if self._exit is not None:
            return "the guard is stopping"
        if lease is None or lease.token < order.token:
            return f"token {order.token} is not armed"
        if lease.token > order.token:
            return f"token {order.token} is sealed: {lease.token} was seen"
        if boottime_s() >= lease.deadline:
            return f"the deadline of token {order.token} has passed"
        if run := self._runs.get(order.workload):
            return f"token {run.start.token} still runs"
        return None

    def _start(self, order: Start) -> str | None:
        deadline = self._leases[order.workload].deadline
        try:
            # Sentinel and timer must know first: from the fork on, we could be stopped and never be missed.
            if self._sentinel.missing():
                self._sentinel.start()
            self._sentinel.expect(min(self._sentinel.moment, deadline + margin_s(self._horizon_s)))
            self._continuer.set(min(self._continuer.moment, deadline))
            self._runs[order.workload] = Run(order, deadline, self._forest, self._standing)
        except OSError as error:
            return f"cannot start a process: {error.strerror}"
        return None

    def _advance(self) -> None:
        for cleaned in [None, *self._runs.values()]:
            for run in self._runs.values():
                self._tell(run.judge(boottime_s()))
            self._brief_sentinel()
            if cleaned is not None:
                self._tell(cleaned.clean(boottime_s()))
                if cleaned.over:
                    del self._runs[cleaned.start.workload]
        self._brief_sentinel()

    def _tell(self, news: Iterable[dict[str, Any]]) -> None:
        for message in news:
            if "log" in message:
                log(message["log"])
            else:
                self._daemon.send(message)

    def _brief_sentinel(self) -> None:
        margin = margin_s(self._horizon_s)
        self._sentinel.expect(min((run.overdue() + margin for run in self._runs.values()), default=math.inf))


def run(daemon_argv: list[str], state_dir: str) -> int:
    """Guard this daemon and its workloads until both are gone; the exit code for the process.

    To be called once, in the main thread of a process that has no other. `MLTB_KILL_PATH` allows only one of
    `cages.PATHS`; by default the best that works is used.
    """
    heed_signals()
    close_on_exec()
    adopt_orphans()
    try:
        forest, lock = take(os.path.realpath(state_dir), os.environ.get("MLTB_KILL_PATH") or None)
    except KillPathError as error:
        log(f"error: {error}")
        return EXIT_CONFIG
    except TenancyError as error:
        log(f"error: {error}")
        return EXIT_FAILED
    except OSError as error:
        log(f"error: cannot use `{state_dir}`: {error.strerror}")
        return EXIT_FAILED
    commands = " ".join([*sys.orig_argv, *daemon_argv])
    for word in PKILL_WORDS:
        if word in commands:
            log(f"warning: the command line has `{word}`: a bot that runs `pkill -f {word}` kills its own guard")
    lock_memory()
    standing = Standing.raised()
    guard = Guard(daemon_argv, forest, standing)
    log(f"pid {os.getpid()}, kill path {forest.path}")
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        return guard.serve()
    finally:
        os.close(lock)


if __name__ == "__main__":
    sys.exit(run(sys.argv[2:], sys.argv[1]))
