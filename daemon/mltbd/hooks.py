"""One hook of a workload while it runs: a helper in the workload's tree, with a time limit. Standard library only."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any

from mltbd.orders import HOOKS, Start
from mltbd.processes import MARK, boottime_s, signal_group
from mltbd.spawn import Command, Standing, spawn
from mltbd.tree import Tree

PRE_START, POST_START, PRE_STOP, POST_STOP = HOOKS
_STDERR = 2
NOT_RUN = 127
"""What `spawn` exits with when there is no such command; why, stands in the log."""


class HookRun:
    """It is over once its first process is reaped; what it left behind belongs to the tree and dies with it."""

    def __init__(
        self, name: str, start: Start, tree: Tree, standing: Standing, until: float, more: Mapping[str, str]
    ) -> None:
        """Forks it; it is killed at `until`, or when its own time is over. OSError when there can be no process."""
        self.name = name
        self.began = boottime_s()
        hook = start.hooks[name]
        self.until = min(until, self.began + hook.timeout_s)
        self._tree = tree
        self._status: int | None = None
        self.late = False
        """It was killed: its time was over."""
        self._seconds = 0.0
        env = {**start.env, **more, "MLTB_HOOK": name, MARK: tree.mark}
        self._pid = spawn(Command(hook.argv, env, start.cwd), _STDERR, standing, tree.adopt)
        tree.helpers.add(self._pid)

    def reaped(self, pid: int, status: int) -> None:
        """A process with this pid was reaped, perhaps ours."""
        if pid == self._pid and self._status is None:
            self._tree.helpers.discard(pid)
            self._status = status
            self._seconds = boottime_s() - self.began

    def cut(self, until: float) -> None:
        """It has no longer than this."""
        self.until = min(self.until, until)

    def over(self, now: float) -> bool:
        """Whether it has ended. Kills it when its time is over."""
        if self._status is None and now >= self.until and not self.late:
            self.late = True
            signal_group(self._pid, signal.SIGKILL)
        return self._status is not None

    def due(self) -> float:
        """When the next step is needed if it does not end before; its exit comes as a signal."""
        return float("inf") if self.late else self.until

    @property
    def trouble(self) -> str:
        """Why it has not done its work, in words; empty when it has."""
        if self.late:
            return f"killed after {self._seconds:.1f} s"
        if self._status is None:
            return "still ran when the workload ended, or was stopped"
        if self._status == NOT_RUN:
            return "exited with status 127: is the command there?"
        return f"exited with status {self._status}" if self._status else ""

    def report(self, workload: str, token: int) -> dict[str, Any]:
        """How the daemon hears of it."""
        seconds = boottime_s() - self.began if self._status is None else self._seconds
        return {
            "is": "hooked", "workload": workload, "token": token, "hook": self.name, "ok": not self.trouble,
            "seconds": round(seconds, 3), "detail": self.trouble,
        }  # fmt: skip
