"""A machine's guard and the workloads it runs, simulated as mltbd.guard promises: the deadline is kept whatever the
daemon does, `gone` is said after the last process has died, an older token never starts again."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from mltbd.core.effects import Arm, StartWorkload, StopWorkload
from mltbd.core.events import GuardSays, HookEnded
from mltbd.core.timing import Timing
from tests.sim.clock import Clock
from tests.sim.history import Down, History, Up

KILL_SHARE = 0.95
"""The tree may take nearly all of `kill_s` to die after the deadline."""
TELL_S = (0.0002, 0.004)
STUBBORN_SHARE = 0.2
"""Workloads that do not heed SIGTERM."""


PHASES = {"": "running", "pre_start": "starting", "post_stop": "stopping"}


@dataclass(slots=True)
class Run:
    """One process tree."""

    workload: str
    token: int
    pid: int
    deadline: float  # local
    grace_s: float
    cause: str = ""
    status: int = 0
    ends_at: float = float("inf")  # real
    hook: str = ""  # pre_start or post_stop while it runs


class Guard:
    """Takes the daemon's orders, keeps deadlines on the machine's clock, reports through `tell`."""

    def __init__(
        self,
        node: str,
        timing: Timing,
        stop_timeout_s: float,
        clock: Clock,
        dice: random.Random,
        at: Callable[..., None],
        real: Callable[[], float],
        history: History,
    ) -> None:
        self._node = node
        self._timing = timing
        self._stop_timeout_s = stop_timeout_s
        self._clock = clock
        self._dice = dice
        self._at = at
        self._real = real
        self._history = history
        self.tell: Callable[[GuardSays | HookEnded], None] = lambda _says: None
        self.runs: dict[str, Run] = {}
        self.leases: dict[str, tuple[int, float]] = {}
        self.fails_until = float("-inf")
        """Real moment until which the workload cannot be started here."""
        self.pre_start_s = 0.0
        self.post_stop_s = 0.0
        """How long hooks take; 0: there are none. They are part of the run, as the workload is."""
        self.vetoed = False
        """pre_start fails."""
        self._pid = 100
        self._told_at = 0.0

    # -- orders ----------------------------------------------------------------------------------------------

    def arm(self, order: Arm) -> None:
        token, deadline = self.leases.get(order.workload, (-1, 0.0))
        if order.token < token:
            return  # Sealed.
        now = self._clock.local(self._real())
        if order.deadline > now + self._timing.hold_s:
            raise AssertionError(f"{self._node}: a deadline {order.deadline - now:.3f} s ahead is beyond the horizon")
        self.leases[order.workload] = (
            order.token, max(deadline, order.deadline) if token == order.token else order.deadline
        )  # fmt: skip
        run = self.runs.get(order.workload)
        if run is not None and run.token == order.token and run.cause != "deadline":
            run.deadline = max(run.deadline, order.deadline)

    def start(self, order: StartWorkload) -> None:
        token, deadline = self.leases.get(order.workload, (-1, 0.0))
        now = self._clock.local(self._real())
        refused = token != order.token or now >= deadline or order.workload in self.runs
        if refused or self._real() < self.fails_until:
            self._say(GuardSays("failed", order.workload, order.token, cause="cannot be started"))
            return
        self._pid += 1
        run = Run(order.workload, order.token, self._pid, deadline, order.grace_s)
        self.runs[order.workload] = run
        self._history.append(Up(self._real(), self._node, run.workload, run.token))
        if self.pre_start_s:
            run.hook = "pre_start"
            self._at(self._real() + self.pre_start_s, self._prepared, run)
        else:
            self._say(GuardSays("running", run.workload, run.token, run.pid, deadline=run.deadline))
        self._watch(run)

    def _prepared(self, run: Run) -> None:
        """pre_start is over."""
        if self.runs.get(run.workload) is not run or run.cause:
            return
        run.hook = ""
        trouble = "exited with status 1" if self.vetoed else ""
        self._say(HookEnded(run.workload, run.token, "pre_start", self.pre_start_s, not trouble, trouble))
        if trouble:
            run.cause = "vetoed"
            self._end_by(run, self._real() + self._kill_s())
        else:
            self._say(GuardSays("running", run.workload, run.token, run.pid, deadline=run.deadline))

    def stop(self, order: StopWorkload) -> None:
        run = self.runs.get(order.workload)
        if run is None or run.token != order.token:
            return
        self._terminate(run, "stopped", self._stop_timeout_s)

    # -- what happens to a run -------------------------------------------------------------------------------

    def _watch(self, run: Run) -> None:
        grace_s = 0.0 if run.cause else run.grace_s
        self._at(self._clock.real(run.deadline - grace_s), self._deadline, run)

    def _deadline(self, run: Run) -> None:
        if self.runs.get(run.workload) is not run:
            return
        now = self._clock.local(self._real())
        if now >= run.deadline:
            self._end_by(run, self._real() + self._kill_s())
        elif not run.cause and now >= run.deadline - run.grace_s:
            self._terminate(run, "deadline", run.grace_s)
            self._watch(run)
        else:
            self._watch(run)

    def _terminate(self, run: Run, cause: str, patience_s: float) -> None:
        if run.cause:
            return
        run.cause = cause
        stubborn = self._dice.random() < STUBBORN_SHARE
        patience_s /= self._clock.rate
        takes_s = patience_s + self._kill_s() if stubborn else self._dice.uniform(0, patience_s)
        if cause != "deadline" or not stubborn:  # A stubborn one is left to the deadline itself.
            self._end_by(run, self._real() + takes_s)

    def _kill_s(self) -> float:
        share = self._dice.choice((0.01, self._dice.random(), 1.0))
        return share * KILL_SHARE * self._timing.kill_s

    def _end_by(self, run: Run, real: float) -> None:
        if real < run.ends_at:
            run.ends_at = real
            self._at(real, self._end, run)

    def _end(self, run: Run) -> None:
        if self.runs.get(run.workload) is not run or self._real() < run.ends_at:
            return
        if self.post_stop_s and not run.hook and run.cause in ("stopped", "exited"):
            # In the same tree and under the same lease.
            run.hook = "post_stop"
            left_s = self._clock.real(run.deadline) - self._real() + self._kill_s()
            run.ends_at = self._real() + max(0.0, min(self.post_stop_s, left_s))
            self._at(run.ends_at, self._end, run)
            return
        if run.hook == "post_stop":
            self._say(HookEnded(run.workload, run.token, "post_stop", self.post_stop_s, True))
        del self.runs[run.workload]
        self._history.append(Down(self._real(), self._node, run.workload, run.token))
        if run.cause == "vetoed":
            self._say(GuardSays("failed", run.workload, run.token, cause="hook `pre_start`: exited with status 1"))
            return
        self._say(GuardSays("gone", run.workload, run.token, cause=run.cause or "deadline", status=run.status))

    def exits(self, workload: str, status: int) -> bool:
        """The workload ends by itself. False when none runs."""
        run = self.runs.get(workload)
        if run is None or run.cause:
            return False
        run.cause, run.status = "exited", status
        self._end_by(run, self._real() + self._dice.uniform(0, self._kill_s()))
        return True

    def stop_all(self) -> None:
        """The guard itself is asked to end."""
        for run in list(self.runs.values()):
            self._terminate(run, "stopped", self._stop_timeout_s)

    def dies(self) -> None:
        """The machine, or the guard with all its children, is gone at once."""
        for run in self.runs.values():
            self._history.append(Down(self._real(), self._node, run.workload, run.token))
        self.runs.clear()
        self.leases.clear()

    # -- reports ---------------------------------------------------------------------------------------------

    def hello(self) -> list[GuardSays]:
        """What a new daemon hears first."""
        return [
            GuardSays(phase, run.workload, run.token, run.pid, deadline=run.deadline)
            for run in self.runs.values()
            if (phase := "stopping" if run.cause else PHASES[run.hook])
        ]

    def _say(self, says: GuardSays | HookEnded) -> None:
        # One channel: reports never overtake each other.
        self._told_at = max(self._told_at, self._real() + self._dice.uniform(*TELL_S))
        self._at(self._told_at, self.tell, says)
