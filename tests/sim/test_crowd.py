"""More nodes than can all be connected to each other: each finds what it needs through a few, the log above all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mltbd.core.node import Node
from tests.sim.cluster import Cluster, Shape
from tests.sim.faults import Faults
from tests.sim.machine import Machine
from tests.sim.mixes import EVERYTHING, Mix
from tests.sim.scenario import draw_shape, run_seed
from tests.sim.stage import all_safe, leader, owner, until

pytestmark = pytest.mark.sim

VOTERS, NODES = 5, 30
JOINED_S = 30.0
LINKS_MAX = 10 + VOTERS + 8
"""Both ways on the ring at distance 1, 2, 4, 8, 16; the voters; guests."""


CALM_S = 45.0
"""Longer than until everybody has exchanged everything with a neighbour."""
STORM = ("crash_daemon", "crash_machine", "pause", "isolate", "split", "one_way", "loss", "lag", "broken_line", "wipe")


def crowd(nodes: int = NODES) -> Shape:
    roles = ("voter",) * VOTERS + ("observer",) * (nodes - VOTERS)
    return Shape(roles=roles, priorities=(100,) * VOTERS + (10,) * (nodes - VOTERS))


def states(machine: Machine, cluster: Cluster) -> set[str]:
    """What this node believes of all."""
    assert machine.node is not None
    members = machine.node.membership.members(machine.clock.local(cluster.now))
    assert len(members) == len(cluster.machines)
    return {member.state for member in members}


def in_step(cluster: Cluster) -> bool:
    """Every node follows the leader and has applied what was committed."""
    led = leader(cluster).node if cluster.leader else None
    nodes = [machine.node for machine in cluster.machines.values() if machine.node is not None]
    return led is not None and all(node.state.applied == led.consensus.commit > 1 for node in nodes)


@pytest.mark.parametrize("seed", [1, 2])
def test_thirty_nodes_share_one_log_over_few_connections(seed: int) -> None:
    cluster = Cluster(crowd(), seed)
    cluster.power_on(within_s=5.0)
    until(cluster, lambda: cluster.settled and in_step(cluster), "log on every node", JOINED_S)
    for machine in cluster.machines.values():
        if machine is not leader(cluster):
            assert len(machine.linked) <= LINKS_MAX, (machine.name, sorted(machine.linked))
    all_safe(cluster)


@pytest.mark.parametrize("seed", [1, 2])
def test_observers_that_were_away_come_back_under_another_leader(seed: int) -> None:
    """What they know of the voters is old; whoever leads now has to be found all the same."""
    cluster = Cluster(crowd(), seed)
    cluster.power_on(within_s=5.0)
    until(cluster, lambda: cluster.settled and in_step(cluster), "log on every node", JOINED_S)
    away = [cluster.machines["n9"], cluster.machines["n23"]]
    for machine in away:
        machine.crash_machine()
    first = leader(cluster)
    first.crash_machine()
    until(cluster, lambda: cluster.settled and leader(cluster) is not first, "another leader", JOINED_S)
    for machine in [*away, first]:
        machine.power_on()
    until(cluster, lambda: cluster.settled and in_step(cluster), "log on every node", JOINED_S)
    assert owner(cluster).node is not None
    all_safe(cluster)


@pytest.mark.parametrize("seed", [4, 12, 16, 24])
def test_every_promise_is_kept_in_a_storm_over_a_crowd(seed: int) -> None:
    """As test_seeds.py has it for small clusters."""
    roles = ("voter",) * VOTERS + ("observer",) * (18 - VOTERS)
    outcome = run_seed(
        seed, shape=replace(draw_shape(seed), roles=roles, priorities=(100,) * len(roles), late=seed % 3)
    )
    assert not outcome.failed, outcome.explain()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_after_a_storm_all_are_in_step_again(seed: int) -> None:
    cluster = Cluster(crowd(18), seed)
    faults = Faults(cluster, Mix(weights={what: EVERYTHING[what] for what in STORM}, duration_s=14.0))
    cluster.power_on()
    faults.begin()
    cluster.run(14.0)
    faults.end()
    until(cluster, lambda: cluster.settled and in_step(cluster), "log on every node", JOINED_S)
    cluster.run_for(CALM_S)
    assert all(states(machine, cluster) == {"ACTIVE"} for machine in cluster.machines.values())
    all_safe(cluster)


def test_it_fails_when_who_follows_does_not_connect_to_its_leader(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty log names no voters: its node answers the leader over a connection that it has for this alone."""
    partners = Node._partners
    monkeypatch.setattr(Node, "_partners", lambda self: partners(self) - {self.consensus.leader})
    with pytest.raises(AssertionError, match="no log on every node"):
        test_thirty_nodes_share_one_log_over_few_connections(1)
