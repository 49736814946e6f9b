"""A view is never older than it says: all that was committed so long ago is applied."""

from __future__ import annotations

import pytest

from tests.sim.cluster import Cluster
from tests.sim.machine import Machine
from tests.sim.stage import all_safe, healthy, leader, until, voters

pytestmark = pytest.mark.sim

by_seed = pytest.mark.parametrize("seed", range(1, 6))
SLACK_S = 0.02
"""The way of a message, and clocks that drift."""


class Ages:
    """Looks after every event whether a view says that it is younger than it is."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.busy = True
        self.wrong: list[str] = []
        self._committed: list[tuple[float, int]] = [(0.0, 0)]
        self._write()

    def _write(self) -> None:
        """Whoever leads commits something all the time."""
        for machine in self.cluster.machines.values():
            if machine.leads and not machine.paused:
                self.cluster.ask(machine, "pause", seconds=60.0)
        if self.busy:
            self.cluster.at(self.cluster.now + 0.1, self._write)

    def run_for(self, seconds: float) -> None:
        self.cluster.run_for(seconds, self._look)
        assert not self.wrong, self.wrong

    def _look(self) -> bool:
        for machine in self.cluster.machines.values():
            node = machine.node
            if node is not None and node.consensus.in_charge and node.consensus.commit > self._committed[-1][1]:
                self._committed.append((self.cluster.now, node.consensus.commit))
        for machine in self.cluster.machines.values():
            fresh_at = self._fresh_at(machine)
            if machine.node is not None and fresh_at is not None:
                missed = [at for at, index in self._committed if index > machine.node.state.applied]
                if missed and missed[0] < fresh_at - SLACK_S:
                    self.wrong.append(
                        f"{machine.name} says {self.cluster.now - fresh_at:.3f} s and lacks what was committed"
                        f" {self.cluster.now - missed[0]:.3f} s ago"
                    )
        return bool(self.wrong)

    def _fresh_at(self, machine: Machine) -> float | None:
        if machine.node is None or machine.paused:
            return None
        fresh_at = machine.node.freshness.fresh_at(machine.node.state.applied)
        return None if fresh_at is None else machine.clock.real(fresh_at)

    def ends(self) -> None:
        """Within a second everybody has grown young again."""
        self.busy = False
        self.run_for(1.0)
        assert self.oldest_s() < 1.0
        all_safe(self.cluster)

    def oldest_s(self) -> float:
        """How old the oldest view says that it is."""
        return max(self.cluster.now - (self._fresh_at(machine) or 0.0) for machine in self.cluster.machines.values())


@by_seed
def test_whoever_is_cut_off_with_the_old_leader_does_not_believe_it(seed: int) -> None:
    cluster = healthy(voters(5), seed)
    ages = Ages(cluster)
    ages.run_for(1.0)
    old = leader(cluster).name
    few = {old, next(name for name in cluster.machines if name != old)}
    cut = [(a, b) for a in cluster.machines for b in cluster.machines if (a in few) != (b in few)]
    cluster.network.block(cut)
    ages.run_for(6.0)
    assert leader(cluster).name not in few
    cluster.network.unblock(cut)
    ages.run_for(3.0)
    ages.ends()


@pytest.mark.parametrize("pause_s", [1.5, 5.0, 20.0])
@by_seed
def test_a_daemon_that_stood_still_does_not_take_what_waited_for_news(seed: int, pause_s: float) -> None:
    cluster = healthy(voters(3), seed)
    ages = Ages(cluster)
    ages.run_for(1.0)
    stopped = next(machine for machine in cluster.machines.values() if not machine.leads)
    stopped.pause()
    ages.run_for(pause_s)
    stopped.resume()
    ages.run_for(5.0)
    ages.ends()


@by_seed
def test_a_leader_with_a_longer_lease_speaks_more_rarely_and_is_believed(seed: int) -> None:
    cluster = healthy(voters(3, 6.0, lease_shares=(1.0, 0.5, 0.5)), seed)
    ages = Ages(cluster)
    ages.busy = False
    ages.run_for(3.0)
    for _ in range(100):
        ages.run_for(0.05)
        assert ages.oldest_s() < 2 * cluster.shape.timing.heartbeat_s
    all_safe(cluster)


@by_seed
def test_a_leader_that_does_not_know_yet_what_is_committed_tells_nobody_that_it_is_all(seed: int) -> None:
    """Its predecessor committed something and could tell nobody; it holds that, and cannot commit anything itself, for
    the disk of the other voter hangs."""
    cluster = healthy(voters(3), seed)
    ages = Ages(cluster)
    ages.run_for(1.0)
    old = leader(cluster)
    others = [machine for machine in cluster.machines.values() if machine is not old]
    until(cluster, lambda: max(_end(machine) for machine in others) > _commit(old), "entry on its way")
    held = _commit(old)
    cluster.network.block([(old.name, machine.name) for machine in others])
    ages.run_for(0.1)
    assert _commit(old) > held
    old.crash_machine()
    until(cluster, lambda: any(machine.leads for machine in others), "other leader")
    other = next(machine for machine in others if not machine.leads)
    other.disk.hangs = True
    ages.run_for(1.5)
    assert max(_commit(machine) for machine in others) == held
    other.disk.hangs = False
    ages.run_for(5.0)
    cluster.heal()
    ages.run_for(5.0)
    ages.ends()


def _end(machine: Machine) -> int:
    return machine.node.consensus.log.last_index if machine.node is not None else 0


def _commit(machine: Machine) -> int:
    return machine.node.consensus.commit if machine.node is not None else 0
