"""More nodes than can all be connected to each other: each finds what it needs through a few, the log above all."""

from __future__ import annotations

import pytest

from mltbd.core.node import Node
from tests.sim.cluster import Cluster, Shape
from tests.sim.stage import all_safe, leader, owner, until

pytestmark = pytest.mark.sim

VOTERS, NODES = 5, 30
JOINED_S = 30.0
LINKS_MAX = 10 + VOTERS + 8
"""Both ways on the ring at distance 1, 2, 4, 8, 16; the voters; guests."""


def crowd() -> Shape:
    roles = ("voter",) * VOTERS + ("observer",) * (NODES - VOTERS)
    return Shape(roles=roles, priorities=(100,) * VOTERS + (10,) * (NODES - VOTERS))


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


def test_it_fails_when_who_follows_does_not_connect_to_its_leader(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty log names no voters: its node answers the leader over a connection that it has for this alone."""
    partners = Node._partners
    monkeypatch.setattr(Node, "_partners", lambda self: partners(self) - {self.consensus.leader})
    with pytest.raises(AssertionError, match="no log on every node"):
        test_thirty_nodes_share_one_log_over_few_connections(1)
