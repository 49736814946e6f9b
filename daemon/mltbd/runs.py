"""One run of a workload: from the fork until its whole tree is dead and reaped. Every kill of a workload is here."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Iterator
from typing import Any

from mltbd.hooks import POST_START, POST_STOP, PRE_START, PRE_STOP, HookRun
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
PRE_STOP_SHARE = 0.5
"""Of the stop timeout; the rest is the workload's own, after SIGTERM."""
STARTING, RUNNING, STOPPING = "starting", "running", "stopping"


class Run:
    """`judge` and then `clean` move it on and yield what the daemon must hear. It is over when `over` is true.

    Living, then ending (SIGTERM was sent, `cause` is set), then killing (`killing_since` is set), then over.
    With hooks: `phase` is starting until pre_start has ended, and stopping while post_stop runs in a tree that was
    killed already and will be once more.
    """

    def __init__(self, start: Start, deadline: float, forest: Forest, standing: Standing) -> None:
        """Forks it, or what comes before it. OSError when there can be no process or no cgroup."""
        self.start = start
        self.deadline = deadline
        self.cause = ""
        self.over = False
        self.phase = STARTING
        self.pid = 0
        self._standing = standing
        self._stop_by = math.inf
        self._status = 0
        self._killing_since: float | None = None
        self._next_round = 0.0
        self._stubborn = False
        self._trouble = b""
        self._hook: HookRun | None = None
        self._hurried = False
        self._asked = False
        """SIGTERM, or what it wants instead, was sent."""
        self._news: list[dict[str, Any]] = []
        self._tree: Tree = forest.plant()
        self.trouble_fd: int | None = None
        """Readable once the child runs its command, or has said here why it cannot."""
        try:
            if PRE_START in start.hooks:
                self._hook = self._hooked(PRE_START, math.inf)
            else:
                self._begin()
        except OSError:
            self._forget()
            raise

    def _begin(self) -> None:
        """The workload itself."""
        self.trouble_fd, tell = os.pipe()
        try:
            os.set_blocking(self.trouble_fd, False)
            command = Command(self.start.argv, {**self.start.env, MARK: self._tree.mark}, self.start.cwd)
            self.pid = spawn(command, tell, self._standing, self._tree.adopt)
            self._tree.root = self.pid
            self.phase = RUNNING
        finally:
            os.close(tell)

    def _hooked(self, name: str, until: float) -> HookRun:
        more = {"MLTB_CAUSE": self.cause} if self.cause else {}
        return HookRun(name, self.start, self._tree, self._standing, until, more)

    def _forget(self) -> None:
        self._tree.close()
        if self.trouble_fd is not None:
            os.close(self.trouble_fd)
            self.trouble_fd = None

    def extend(self, deadline: float) -> None:
        """A renewal. What was told to end for want of one ends all the same: half a bot is not a healthy bot."""
        if self.cause != "deadline" and self._killing_since is None:
            self.deadline = max(self.deadline, deadline)

    def end(self, cause: str, stop_by: float, *, hurry: bool = False) -> None:
        """SIGTERM, unless it was sent already; SIGKILL at `stop_by`, and never later than at the deadline.

        A planned stop lets pre_stop run first, and post_stop last, unless there is a `hurry`. To ask for it again
        changes nothing: the next daemon does not know how far it has come.
        """
        self._stop_by = min(self._stop_by, stop_by)
        self._hurried = self._hurried or hurry
        if self.cause:
            if hurry and self._hook is not None:
                self._hook.cut(stop_by if self.phase == STOPPING else boottime_s())
            return
        if self.phase == RUNNING and self._tree.root is None:
            return  # It has ended by itself; `judge` is about to say so.
        self.cause = cause
        if self.phase != RUNNING:
            return
        if PRE_STOP not in self.start.hooks or cause != "stopped" or self._hurried:
            self._terminate()
            return
        if self._hook is not None:
            self._news.append(self._report(self._hook))  # It goes on, and ends with the tree at the latest.
        now = boottime_s()
        try:
            self._hook = self._hooked(PRE_STOP, now + (self._stop_by - now) * PRE_STOP_SHARE)
        except OSError:
            self._terminate()

    def _terminate(self) -> None:
        if self._tree.root is not None:
            self._asked = True
            signal_group(self.pid, self.start.stop_signal)
            signal_group(self.pid, signal.SIGCONT)  # A stopped process would not hear it.

    def reaped(self, pid: int, status: int) -> None:
        """A process was reaped, perhaps one of ours, with this exit code or minus this signal; the first counts."""
        if pid == self.pid and self._tree.root is not None:
            self._status = status
            self._tree.root = None
        self._tree.helpers.discard(pid)
        if self._hook is not None:
            self._hook.reaped(pid, status)

    def due(self) -> float:
        """When the next step is needed if nothing else happens."""
        if self._killing_since is not None:
            return self._next_round
        hook = math.inf if self._hook is None else self._hook.due()
        if self.phase == STOPPING:
            return min(hook, self.deadline)
        if not self.cause or self._before_sigterm:
            return min(hook, self._stop_by, self.deadline - self.start.grace_s)
        return min(hook, self._stop_by, self.deadline)

    @property
    def _before_sigterm(self) -> bool:
        """A pre_stop runs; it may take its time, but none of what the lease leaves after SIGTERM."""
        return self._hook is not None and self._hook.name == PRE_STOP and not self._hook.late

    def overdue(self) -> float:
        """The moment from which a guard that has not acted must be considered dead."""
        return self.deadline if self._killing_since is None else self._next_round + KILLED_S

    def judge(self, now: float) -> Iterator[dict[str, Any]]:
        """The first blow, if it is time; quick, so that no other run has to wait for its own."""
        news, self._news = self._news, []
        yield from news
        if self._before_sigterm and self._hook is not None and now >= self.deadline - self.start.grace_s:
            self._hook.cut(now)
        if self._killing_since is None and self._hook is not None and self._hook.over(now):
            yield from self._follow(self._hook)
        yield from self._hear()
        if self._killing_since is None and self._doomed(now):
            self._killing_since = self._next_round = now
            self._tree.strike()
            if self._hook is not None:
                yield self._report(self._hook)
            if self.phase != STOPPING:
                yield {"log": f"`{self.start.workload}` with token {self.start.token} is killed: {self.cause}"}

    def _follow(self, hook: HookRun) -> Iterator[dict[str, Any]]:
        """A hook has ended: what comes after it."""
        yield self._report(hook)
        if hook.name == PRE_STOP:
            self._terminate()
        elif hook.name == PRE_START and not self.cause:
            self._trouble = f"hook `{PRE_START}`: {hook.trouble}".encode() if hook.trouble else b""
            if not hook.trouble:
                try:
                    self._begin()
                except OSError as error:
                    self._trouble = f"cannot start a process: {error.strerror}".encode()
            if self._trouble:
                self.cause = "vetoed"

    def _report(self, hook: HookRun) -> dict[str, Any]:
        self._hook = None
        return hook.report(self.start.workload, self.start.token)

    def clean(self, now: float) -> Iterator[dict[str, Any]]:
        """A round of killing, if one is due, until nothing is left. Looks at every process; never waits."""
        if self._killing_since is None or now < self._next_round:
            return
        if self._all_dead():
            if self._lives_on(now):
                return
            self._forget()
            self.over = True
            yield self._obituary()
            return
        now = boottime_s()
        elapsed = now - self._killing_since
        self._next_round = now + next(pause for limit, pause in ROUNDS_S if elapsed < limit)
        if elapsed >= STUBBORN_S and not self._stubborn:
            self._stubborn = True
            yield {"log": f"`{self.start.workload}` does not die: {self._left()}"}

    def _all_dead(self) -> bool:
        """If not, it was struck once more. Where no file can be opened nobody is seen, and nobody called dead."""
        try:
            if self._tree.empty():
                return True
            self._tree.kill()
        except OSError:
            pass
        return False

    def _left(self) -> str:
        try:
            return f"{len(self._tree.strays())} processes left"
        except OSError as error:
            return f"its processes cannot be seen: {(error.strerror or str(error)).lower()}"

    def _lives_on(self, now: float) -> bool:
        """All is dead: post_stop may run now, in the same tree and under the same lease."""
        wanted = POST_STOP in self.start.hooks and self.phase == RUNNING and not self._hurried
        if not wanted or self._trouble or self.cause == "deadline" or now >= self.deadline:
            return False
        try:
            self._hook = self._hooked(POST_STOP, math.inf)  # The deadline ends it too, and may still be extended.
        except OSError:
            return False
        self.phase = STOPPING
        self._killing_since = None
        return True

    def _doomed(self, now: float) -> bool:
        """Whether all that is left of it must go now. Sends SIGTERM when the grace period begins."""
        if self.phase == STOPPING:
            return self._hook is None or now >= self.deadline
        if now >= min(self._stop_by, self.deadline):
            self.cause = self.cause or "deadline"
            return True
        if self.phase == RUNNING and self._tree.root is None:
            if not self.cause:
                self.cause = "exited"
                return True
            # Its group got SIGTERM too and has until then; what left the group never heard of it. What ended by itself
            # during pre_stop takes the rest with it at once.
            return not self._asked or not group_exists(self.pid)
        if not self.cause and now >= self.deadline - self.start.grace_s:
            self.end("deadline", self.deadline)
        return self.phase == STARTING and bool(self.cause)  # Nothing of it runs yet that would heed a SIGTERM.

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
        if self._trouble:
            return
        yield {"is": "running", **self.describe()}
        if POST_START in self.start.hooks and not self.cause:
            try:
                self._hook = self._hooked(POST_START, math.inf)
            except OSError as error:
                yield {"log": f"cannot start a process: {error.strerror}"}

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
            "phase": STOPPING if self.cause else self.phase,
        }
