"""Random faults on real processes, from a seed: `python -m tests.e2e.chaos SEED COUNT [NODES] [LEASE]`."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from mltbctl.client import Client, MltbError
from tests.e2e.stage import PATIENCE_S, Stage
from tests.waiting import until

CALM_S = 0.3
STORM_S = 2.0
STOP_S = 3.0


class Chaos:
    """Breaks one thing after the other. Every fault is undone before the next but one, so a majority comes back."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self._stage = stage
        self._dice = random.Random(seed)
        self._undo: list[Callable[[], None]] = []
        self.story: list[str] = []

    def run(self, count: int) -> None:
        """`count` faults, then everything undone."""
        for _ in range(count):
            fault = self._dice.choice(self._faults())
            fault(self._dice.choice(self._stage.cluster.started))
            self._pause(CALM_S, STORM_S)
            while len(self._undo) > 1:
                self._undo.pop(0)()
        while self._undo:
            self._undo.pop(0)()

    def _faults(self) -> list[Callable[[str], None]]:
        """What may happen to a node, each as likely as the others."""
        return [self._machine, self._daemon, self._guard, self._workload, self._frozen, self._frozen_all, self._move]

    def _pause(self, low: float, high: float) -> None:
        time.sleep(self._dice.uniform(low, high))

    def _note(self, what: str) -> None:
        self.story.append(what)

    def _machine(self, node: str) -> None:
        self._note(f"machine {node}")
        self._stage.cluster.kill(node)
        self._undo.append(lambda: self._stage.cluster.start(node))

    def _guard(self, node: str) -> None:
        self._note(f"guard {node}")
        os.kill(self._stage.cluster.pid(node), signal.SIGKILL)
        self._stage.cluster.wait(node, 10)
        self._undo.append(lambda: self._stage.cluster.start(node))

    def _daemon(self, node: str) -> None:
        self._signal(self._stage.daemon(node), signal.SIGKILL, f"daemon {node}")

    def _workload(self, _: str) -> None:
        runs = self._stage.runs()
        self._signal(runs[-1].pid if runs else None, signal.SIGKILL, "workload")

    def _frozen(self, node: str) -> None:
        self._freeze([self._stage.daemon(node)], f"frozen daemon {node}")

    def _frozen_all(self, node: str) -> None:
        """Guard and daemon; the workload and the sentinel run on."""
        self._freeze([self._stage.cluster.pid(node), self._stage.daemon(node)], f"frozen guard and daemon {node}")

    def _freeze(self, pids: list[int | None], what: str) -> None:
        for pid in pids:
            self._signal(pid, signal.SIGSTOP, what)
        self._pause(0, STOP_S)
        for pid in reversed(pids):
            self._signal(pid, signal.SIGCONT, f"thawed {what}")
        self._revive()

    def _revive(self) -> None:
        """A guard that its sentinel had to kill starts again, as its supervisor would see to."""
        for node in list(self._stage.cluster.ended()):
            self._stage.cluster.wait(node, 1)
            self._stage.cluster.start(node)

    def _move(self, node: str) -> None:
        self._note(f"switchover to {node}")
        for other in self._stage.cluster.nodes:
            with contextlib.suppress(MltbError), Client(str(self._stage.cluster.plans[other].socket), timeout=1) as c:
                c.switchover(node)
                return

    def _signal(self, pid: int | None, number: signal.Signals, what: str) -> None:
        self._note(what)
        with contextlib.suppress(ProcessLookupError):
            if pid:
                os.kill(pid, number)


def storm(directory: Path, seed: int, count: int, size: int = 3, lease_s: float = 1.0) -> int:
    """`count` faults on a fresh cluster; the number of runs it saw. AssertionError when a promise is broken."""
    with Stage(directory, size, CLUSTER_LEASE_DURATION=lease_s) as stage:
        chaos = Chaos(stage, seed)
        try:
            chaos.run(count)
            before = len(stage.runs())
            until(lambda: stage.owner() is not None, PATIENCE_S, lambda: f"it runs again\n{stage.picture()}")
            stage.check()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}\n{' / '.join(chaos.story)}") from error
        return max(before, len(stage.runs()))


if __name__ == "__main__":
    words = [*sys.argv[1:], "3", "1.0"]
    with tempfile.TemporaryDirectory(prefix="mltb-chaos-") as home:
        print(storm(Path(home), int(words[0]), int(words[1]), int(words[2]), float(words[3])), "runs, no overlap")
