"""Checks in the simulator: every machine looks at what it runs, as the daemon's shell does, in virtual time."""

from __future__ import annotations

from dataclasses import replace

from mltbd.core.events import Checked
from mltbd.core.failover import Policy
from mltbd.core.health import Rule
from mltbd.core.workload import Patience
from tests.sim.cluster import WORKLOAD, Cluster, Shape
from tests.sim.machine import Machine

CHECK = "sim"
EVERY_S = 0.5
RULE = Rule(WORKLOAD, CHECK, failures=3)


class Looks:
    """`deaf`: machines whose workload lives and does not work. A result takes up to `late_s` to arrive."""

    def __init__(self, cluster: Cluster, rule: Rule = RULE, late_s: float = 0.0) -> None:
        self.cluster = cluster
        self.late_s = late_s
        self.deaf: set[str] = set()
        for machine in cluster.machines.values():
            machine.reconfigure(checks=(rule,))
            cluster.at(cluster.now + cluster.dice.uniform(0, EVERY_S), self._look, machine)

    def _look(self, machine: Machine) -> None:
        run = machine.guard.runs.get(WORKLOAD)
        if run is not None and machine.node is not None:
            ok = machine.name not in self.deaf
            report = Checked(WORKLOAD, CHECK, ok, "" if ok else "deaf", run.token, run.pid)
            self.cluster.at(self.cluster.now + self.cluster.dice.uniform(0, self.late_s), self._tell, machine, report)
        self.cluster.at(self.cluster.now + EVERY_S, self._look, machine)

    def _tell(self, machine: Machine, report: Checked) -> None:
        if machine.node is not None:
            machine.feed(report)


def strict(shape: Shape, cool_s: float = 1.0, attempts: int = 3) -> Shape:
    """Three tries on a node, so many nodes, then FAILED. A deaf run lasts longer than what is called steady."""
    patience = Patience(3, cool_s, 1.0, attempts)
    return replace(shape, patience=patience, policy=Policy(max_attempts=attempts))
