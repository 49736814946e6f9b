"""One workload on this node: start, back off, give up, stop. What the guard reports comes in; wishes go out.

States: STOPPED, STARTING, RUNNING, STOPPING, BACKOFF, FAILED (given up here; another node may try).
"""

from __future__ import annotations

from dataclasses import dataclass

from mltbd.core.effects import StartWorkload, StopWorkload
from mltbd.core.events import GuardSays
from mltbd.core.outbox import Outbox

STOPPED, STARTING, RUNNING = "STOPPED", "STARTING", "RUNNING"
STOPPING, BACKOFF, FAILED = "STOPPING", "BACKOFF", "FAILED"

BACKOFF_FIRST_S = 0.25
BACKOFF_MAX_S = 30.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a workload may fail here, and how long it is then left alone."""

    failures_max: int = 3
    cool_s: float = 60.0
    steady_s: float = 10.0
    """A run of this length was no failed start: the count of failures begins anew."""
    attempts_max: int = 1 << 30
    """Once so many owners have given it up an operator decides: then no node has to be left alone any more."""


class Workload:
    """The supervised process of one name. `token` is the one it runs, or last ran, under."""

    def __init__(self, name: str, patience: Patience) -> None:
        self.name = name
        self.patience = patience
        self.state = STOPPED
        self.token = 0
        self.pid = 0
        self.restarts = 0
        self.failures = 0
        self.since = 0  # wall milliseconds of the last change
        self.error = ""
        self.ailing = ""  # why we stop it: the checks say that it does not do its work
        self.start_at = float("-inf")
        self.steady_at = float("inf")  # when the present run counts as a good one
        self.cool_until = float("-inf")  # given up here until then

    @property
    def alive(self) -> bool:
        """Whether a process of it may exist: only the guard's word ends that."""
        return self.state in (STARTING, RUNNING, STOPPING)

    def next_deadline(self) -> float:
        if self.state == BACKOFF:
            return self.start_at
        return self.cool_until if self.cool_until > float("-inf") and self.state != RUNNING else float("inf")

    def may_start(self, now: float) -> bool:
        return self.state in (STOPPED, FAILED, BACKOFF) and now >= self.start_at and now >= self.cool_until

    def start(self, token: int, grace_s: float, wall: int, out: Outbox) -> None:
        """`grace_s`: from SIGTERM to SIGKILL when its lease runs out."""
        self.token = token
        self._enter(STARTING, wall)
        out.put(StartWorkload(self.name, token, grace_s))

    def stop(self, wall: int, out: Outbox) -> None:
        """Ask the guard to stop it. `gone` follows; at once here when nothing runs."""
        if self.state in (STARTING, RUNNING):
            self._enter(STOPPING, wall)
            out.put(StopWorkload(self.name, self.token))
        elif self.state in (BACKOFF, FAILED):
            self._enter(STOPPED, wall)

    def pardon(self) -> None:
        """Nobody would start it here by mistake: it may be tried at once."""
        self.cool_until = float("-inf")

    def ail(self, why: str, wall: int, out: Outbox) -> None:
        """It lives and does not do its work: end this run as a failed one."""
        if self.state == RUNNING:
            self.ailing = why
            out.note("warning", f"{self.name} is unhealthy: {why}")
            self.stop(wall, out)

    def well(self, now: float, notices_s: float) -> None:
        """A watched run counts as good once it has been well for long enough, however long it lived before: for
        longer than its checks take to notice, else what is ill again and again would never count as failing."""
        self.steady_at = min(self.steady_at, now + max(self.patience.steady_s, notices_s))

    def reported(self, says: GuardSays, now: float, wall: int, out: Outbox, *, watched: bool = False) -> None:
        """The guard speaks of the token we run. A report of an older token is late news.

        `watched`: it has checks, and what is not known to be well does not become steady by lasting.
        """
        if says.token < self.token or (says.token > self.token and self.alive):
            return
        if says.what == "running":
            self.token, self.pid = says.token, says.pid
            self.steady_at = float("inf") if watched else now + self.patience.steady_s
            if self.state == STOPPING:
                out.put(StopWorkload(self.name, self.token))
            else:
                self.error = ""
                self._enter(RUNNING, wall)
            return
        if says.what in ("starting", "stopping"):  # What the guard of an earlier daemon of ours is at.
            self.token, self.pid = says.token, says.pid
            self._enter(STARTING if says.what == "starting" else STOPPING, wall)
            return
        if not self.alive:
            return
        self.pid = 0
        ailing, self.ailing = self.ailing, ""
        if says.what == "gone" and ailing:
            self.error = ailing
            self._failed(now, wall)
            return
        if says.what == "gone" and (self.state == STOPPING or says.cause in ("stopped", "deadline")):
            self._measure(now)
            self._enter(STOPPED, wall)
            return
        self.error = says.cause if says.what == "failed" else f"exited with status {says.status}"
        out.note("warning", f"{self.name}: {self.error}")
        self._failed(now, wall)

    def _measure(self, now: float) -> None:
        """A run is over, however it ended: a good one makes up for the failures before it."""
        if now >= self.steady_at:
            self.failures = 0
        self.steady_at = float("inf")

    def _failed(self, now: float, wall: int) -> None:
        self._measure(now)
        self.failures += 1
        self.restarts += 1
        if self.failures >= self.patience.failures_max:
            self._enter(FAILED, wall)
            self.failures = 0
            self.cool_until = now + self.patience.cool_s
            return
        self._enter(BACKOFF, wall)
        self.start_at = now + min(BACKOFF_FIRST_S * 2 ** (self.failures - 1), BACKOFF_MAX_S)

    def _enter(self, state: str, wall: int) -> None:
        self.state = state
        self.since = wall
