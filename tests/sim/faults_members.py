"""Faults that change who belongs to a cluster: machines join, are removed, let in again, lose their disk."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable

from mltb_transport.voters import Voter
from mltbd.core.log import InvariantViolation, Log
from tests.sim.cluster import Cluster
from tests.sim.machine import Machine


class MemberFaults(ABC):
    """A part of Faults, which knows whom, when and how long."""

    _cluster: Cluster
    _dice: random.Random
    _heedless: bool
    """Wipe whatever comes; else only where every set of voters that anybody has on disk keeps its majority."""

    @abstractmethod
    def _victim(self) -> Machine: ...

    @abstractmethod
    def _back_s(self) -> float: ...

    @abstractmethod
    def _later(self, seconds: float, call: Callable[..., None], *args: object) -> None: ...

    def _wipe(self) -> None:
        victim = self._victim()
        if victim.config.founder.designated or not (self._heedless or _bearable(self._cluster, victim)):
            return
        back_s = self._back_s()
        self._cluster.fault(f"machine {victim.name} off for {back_s:.2f} s, back with an empty disk")
        victim.crash_machine()
        victim.wipe()
        self._later(back_s, self._cluster.start_again, victim)

    def _join(self) -> None:
        """A machine that was bought later is switched on."""
        new = [m for m in self._cluster.machines.values() if not m.disk.incarnation and not m.on]
        if new:
            self._cluster.fault(f"{new[0].name} joins")
            new[0].power_on()

    def _remove(self) -> None:
        if not all(_bearable(self._cluster, machine) for machine in self._cluster.machines.values() if _votes(machine)):
            return  # One disk is lost already: the arithmetic of the leader may not know yet.
        self._about_voters("remove_node", [m.name for m in self._cluster.machines.values()])

    def _promote(self) -> None:
        self._about_voters("promote_node", [m.name for m in self._cluster.machines.values() if m.on])

    def _admit(self) -> None:
        leader = self._cluster.leader
        if leader is not None and leader.node is not None:
            self._about_voters("admit_node", sorted({name for name, _ in leader.node.state.removals.removed}))

    def _about_voters(self, verb: str, names: list[str]) -> None:
        """Of the leader, now and perhaps again at once: two requests must not become two changes at a time."""
        cluster, leader = self._cluster, self._cluster.leader
        while names and leader is not None:
            cluster.ask(leader, verb, self._dice.choice(names))
            if self._dice.random() < 0.7:
                return


def _bearable(cluster: Cluster, victim: Machine) -> bool:
    """Whether no set of voters that stands in any log loses its majority with this disk: else nobody could go on."""
    stores = {machine.name: machine.disk.store for machine in cluster.machines.values() if machine is not victim}
    for machine in cluster.machines.values():
        for voters in (_on_disk(machine), _in_memory(machine)):
            left = sum(stores.get(voter.node) == voter.store for voter in voters)
            if voters and left <= len(voters) // 2:
                return False
            if len(voters) == 1 and voters[0].node != victim.name:
                return False  # It may be promoted at this very moment: then two are needed, and one of them is this.
    return bool(victim.disk.entries)


def _on_disk(machine: Machine) -> tuple[Voter, ...]:
    disk = machine.disk
    try:
        return Log(tuple(disk.entries), disk.snapshot, disk.base).voters
    except InvariantViolation:
        return ()  # A planted bug has left a gap: whoever begins on it breaks, and the checkers hear of that.


def _in_memory(machine: Machine) -> tuple[Voter, ...]:
    """A slow disk may have a change before it still, and will have it."""
    return machine.node.consensus.log.voters if machine.node is not None else ()


def _votes(machine: Machine) -> bool:
    return any(voter.node == machine.name for voter in _on_disk(machine))
