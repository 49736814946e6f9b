"""One run of a workload: from the fork until its whole tree is dead and reaped. Every kill of a workload is here."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Iterator
from typing import Any

from mltbd.orders import Start
from mltbd.processes import MARK, boottime_s, group_exists, signal_group
from mltbd.spawn import ERROR_BYTES_MAX, Command, Standing, spawn
from mltbd.tree import Forest, Tree

ROUNDS_S = ((0.2, 0.002), (2.0, 0.02), (math.inf, 0.25))
"""Pause between two rounds of killing, while it has taken less than so long."""
KILLED_S = 1.0
"""How long after the next round of killing is due the guard is still trusted; the first blow has fallen by then."""
STUBBORN_S = 5.0
"""After so long it is said aloud that something does not die."""


class Run:
    """`judge` and then `clean` move it on and yield what the daemon must hear. It is over when `over` is true.

    Living, then ending (SIGTERM was sent, `cause` is set), then killing (`killing_since` is set), then over.
    """

    def __init__(self, start: Start, deadline: float, forest: Forest, standing: Standing) -> None:
        """Forks it. OSError when there can be no process or no cgroup."""
        self.start = start
        self.deadline = deadline
        self.cause = ""
        self.over = False
        self._stop_by = math.inf
        self._status = 0
        self._killing_since: float | None = None
        self._next_round = 0.0
        self._stubborn = False
        self._trouble = b""
        self._tree: Tree = forest.plant()
        self.trouble_fd: int | None = None
        """Readable once the child runs its command, or has said here why it cannot."""
        try:
            self.pid = self._fork(standing)
        except OSError:
            self._forget()
            raise
        self._tree.root = self.pid

    def _fork(self, standing: Standing) -> int:
        self.trouble_fd, tell = os.pipe()
        try:
            os.set_blocking(self.trouble_fd, False)
            command = Command(self.start.argv, {**self.start.env, MARK: self._tree.mark}, self.start.cwd)
            return spawn(command, tell, standing, self._tree.adopt)
        finally:
            os.close(tell)

    def _forget(self) -> None:
        self._tree.close()
        if self.trouble_fd is not None:
            os.close(self.trouble_fd)
            self.trouble_fd = None

    def extend(self, deadline: float) -> None:
        """A renewal. What was told to end for want of one ends all the same: half a bot is not a healthy bot."""
        if self.cause != "deadline" and self._killing_since is None:
            self.deadline = max(self.deadline, deadline)

    def end(self, cause: str, stop_by: float) -> None:
        """SIGTERM, unless it was sent already; SIGKILL at `stop_by`, and never later than at the deadline."""
        self._stop_by = min(self._stop_by, stop_by)
        if not self.cause:
            self.cause = cause
            if self._tree.root is not None:
                signal_group(self.pid, signal.SIGTERM)
                signal_group(self.pid, signal.SIGCONT)  # A stopped process would not hear it.

    def reaped(self, status: int) -> None:
        """A process with its `pid` was reaped, with this exit code or minus this signal; the first one counts."""
        if self._tree.root is not None:
            self._status = status
            self._tree.root = None

    def due(self) -> float:
        """When the next step is needed if nothing else happens."""
        if self._killing_since is not None:
            return self._next_round
        return min(self._stop_by, self.deadline) if self.cause else self.deadline - self.start.grace_s

    def overdue(self) -> float:
        """The moment from which a guard that has not acted must be considered dead."""
        return self.deadline if self._killing_since is None else self._next_round + KILLED_S

    def judge(self, now: float) -> Iterator[dict[str, Any]]:
        """The first blow, if it is time; quick, so that no other run has to wait for its own."""
        yield from self._hear()
        if self._killing_since is None and self._doomed(now):
            self._killing_since = self._next_round = now
            self._tree.strike()
            yield {"log": f"`{self.start.workload}` with token {self.start.token} is killed: {self.cause}"}

    def clean(self, now: float) -> Iterator[dict[str, Any]]:
        """A round of killing, if one is due, until nothing is left. Looks at every process; never waits."""
        if self._killing_since is None or now < self._next_round:
            return
        if self._tree.empty():
            self._forget()
            self.over = True
            yield self._obituary()
            return
        self._tree.kill()
        now = boottime_s()
        elapsed = now - self._killing_since
        self._next_round = now + next(pause for limit, pause in ROUNDS_S if elapsed < limit)
        if elapsed >= STUBBORN_S and not self._stubborn:
            self._stubborn = True
            yield {"log": f"`{self.start.workload}` does not die: {len(self._tree.strays())} processes left"}

    def _doomed(self, now: float) -> bool:
        """Whether all that is left of it must go now. Sends SIGTERM when the grace period begins."""
        if now >= min(self._stop_by, self.deadline):
            self.cause = self.cause or "deadline"
            return True
        if self._tree.root is None:
            if not self.cause:
                self.cause = "exited"
                return True
            # Its group got SIGTERM too and has until then; what left the group never heard of it.
            return not group_exists(self.pid)
        if not self.cause and now >= self.deadline - self.start.grace_s:
            self.end("deadline", self.deadline)
        return False

    def _hear(self) -> Iterator[dict[str, Any]]:
        if self.trouble_fd is None:
            return
        try:
            while words := os.read(self.trouble_fd, ERROR_BYTES_MAX):
                self._trouble += words
        except BlockingIOError:
            return
        os.close(self.trouble_fd)
        self.trouble_fd = None
        if not self._trouble:
            yield {"is": "running", **self.describe()}

    def _obituary(self) -> dict[str, Any]:
        name = {"workload": self.start.workload, "token": self.start.token}
        if self._trouble:
            return {"is": "failed", **name, "error": self._trouble.decode(errors="replace").strip()}
        return {"is": "gone", **name, "cause": self.cause, "status": self._status}

    def describe(self) -> dict[str, Any]:
        """How the daemon knows it."""
        return {
            "workload": self.start.workload,
            "token": self.start.token,
            "pid": self.pid,
            "deadline": self.deadline,
        }
