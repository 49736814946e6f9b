"""Faults of people who upgrade a cluster node by node, and take it back."""

from __future__ import annotations

import random
from abc import ABC

from mltbd.core.level_rules import Speaks
from tests.sim.cluster import Cluster

OLD, NEW = Speaks(1, 1), Speaks(1, 2)


class LevelFaults(ABC):
    """A part of Faults."""

    _cluster: Cluster
    _dice: random.Random

    def _upgrade(self) -> None:
        self._change(NEW)

    def _take_back(self) -> None:
        self._change(OLD)

    def _upgrade_all(self) -> None:
        """One by one, as fast as they come back."""
        for place, name in enumerate(sorted(self._cluster.machines)):
            self._cluster.at(self._cluster.now + 0.8 * place, self._put, name, NEW)

    def _change(self, speaks: Speaks) -> None:
        others = [name for name, machine in self._cluster.machines.items() if machine.config.speaks != speaks]
        if others:
            self._put(self._dice.choice(others), speaks)

    def _put(self, name: str, speaks: Speaks) -> None:
        self._cluster.fault(f"{name} gets a build that speaks {speaks}")
        self._cluster.exchange(self._cluster.machines[name], speaks)
