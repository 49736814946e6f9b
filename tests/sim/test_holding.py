"""Stories of pauses and drains, told on purpose."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mltbd.core.failover import Policy
from tests.sim.cluster import Cluster
from tests.sim.machine import Machine
from tests.sim.stage import all_safe, apart, healthy, leader, owner, until, ups, voters

pytestmark = pytest.mark.sim

SEEDS = range(1, 5)
LONG_S = 12.0


def told(cluster: Cluster, verb: str, target: str = "", **rest: object) -> None:
    """The leader is asked, and it has taken effect there."""
    lead = leader(cluster)
    cluster.ask(lead, verb, target, **rest)
    assert lead.node is not None
    controls = lead.node.state.controls
    wished = {
        "pause": lambda: controls.paused is not None,
        "resume": lambda: controls.paused is None,
        "drain": lambda: target in controls.drained,
        "undrain": lambda: target not in controls.drained,
    }
    until(cluster, wished[verb], verb)


def paused(cluster: Cluster) -> bool:
    node = leader(cluster).node
    return node is not None and node.state.controls.paused is not None


def runs_elsewhere(cluster: Cluster, but: Machine) -> bool:
    return cluster.settled and owner(cluster) is not but


@pytest.mark.parametrize("same", [True, False], ids=["owner leads", "owner follows"])
@pytest.mark.parametrize("seed", SEEDS)
def test_while_paused_a_lost_owner_is_waited_for(seed: int, *, same: bool) -> None:
    cluster = healthy(voters(3), seed)
    apart(cluster, same=same)
    told(cluster, "pause")
    lost, since = owner(cluster), cluster.now
    lost.crash_machine()
    cluster.run_for(LONG_S)
    assert ups(cluster, since) == []
    told(cluster, "resume")
    until(cluster, lambda: runs_elsewhere(cluster, lost), "another owner")
    all_safe(cluster)


@pytest.mark.parametrize("seed", SEEDS)
def test_while_paused_a_machine_that_comes_back_runs_it_again(seed: int) -> None:
    cluster = healthy(voters(3), seed)
    told(cluster, "pause")
    lost, since = owner(cluster), cluster.now
    lost.crash_machine()
    cluster.run_for(LONG_S)
    cluster.start_again(lost)
    until(cluster, lambda: cluster.settled, "the same owner")
    assert {up.node for up in ups(cluster, since)} == {lost.name}
    assert paused(cluster)
    all_safe(cluster)


@pytest.mark.parametrize("seed", SEEDS)
def test_while_paused_an_operator_moves_it_all_the_same(seed: int) -> None:
    cluster = healthy(voters(3), seed)
    told(cluster, "pause")
    before = owner(cluster)
    target = next(name for name in cluster.machines if name != before.name)
    cluster.ask(leader(cluster), "switchover", target)
    until(cluster, lambda: cluster.settled and owner(cluster).name == target, f"switchover to {target}")
    assert paused(cluster)
    all_safe(cluster)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_pause_outlives_its_leader_and_ends_by_itself(seed: int) -> None:
    cluster = healthy(voters(3), seed)
    apart(cluster, same=True)
    told(cluster, "pause", seconds=LONG_S)
    began, lost = cluster.now, owner(cluster)
    lost.crash_machine()
    until(cluster, lambda: cluster.leader is not None, "another leader")
    cluster.run(began + 0.95 * LONG_S)
    assert paused(cluster)
    assert ups(cluster, began) == []
    until(cluster, lambda: runs_elsewhere(cluster, lost), "another owner")
    assert not paused(cluster)
    assert cluster.now < began + LONG_S + 4.0
    all_safe(cluster)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_drained_node_is_left_and_stays_empty_until_undrained(seed: int) -> None:
    policy = Policy(max_attempts=1000, recovery_wait_s=4.0, preferred={"main": ("n1",)})
    cluster = healthy(voters(3, policy=policy), seed)
    emptied = cluster.machines["n1"]
    until(cluster, lambda: cluster.settled and owner(cluster) is emptied, "the preferred owner", 60.0)
    told(cluster, "drain", "n1")
    until(cluster, lambda: runs_elsewhere(cluster, emptied), "another owner")
    until(cluster, lambda: cluster.leader not in (None, emptied), "another leader")
    since = cluster.now
    emptied.crash_machine()
    cluster.run_for(1.0)
    cluster.start_again(emptied)
    cluster.run_for(LONG_S)
    assert "n1" not in {up.node for up in ups(cluster, since)}
    assert leader(cluster) is not emptied
    told(cluster, "undrain", "n1")
    undrained_at = cluster.now
    until(cluster, lambda: cluster.settled and owner(cluster) is emptied, "failback", 60.0)
    assert cluster.now - undrained_at >= policy.recovery_wait_s * 0.99
    all_safe(cluster)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("why", ["paused", "manual"])
def test_a_drained_leader_steps_aside_although_a_move_got_stuck(seed: int, why: str) -> None:
    """The node that was granted the workload died before it ran there, and nobody else may be granted it."""
    cluster = healthy(voters(3, 1.0, policy=Policy(automatic=why == "paused")), seed)
    apart(cluster, same=False)
    first = leader(cluster)
    target = next(m for m in cluster.machines.values() if m is not first and m is not owner(cluster))
    if why == "paused":
        told(cluster, "pause")
    cluster.ask(first, "switchover", target.name)
    until(cluster, lambda: _granted(first, target.name), "grant that nobody has answered")
    target.crash_machine()
    cluster.run_for(5.0)
    assert not cluster.owners
    told(cluster, "drain", first.name, force=True)
    until(cluster, lambda: cluster.leader not in (None, first), "another leader", 2.0)
    all_safe(cluster)


def _granted(first: Machine, target: str) -> bool:
    placement = first.node.state.placements.get("main") if first.node is not None else None
    return placement is not None and placement.owner == target and not placement.started


@pytest.mark.parametrize("seed", SEEDS)
def test_a_forced_drain_stops_nothing_before_another_node_is_there(seed: int) -> None:
    shape = replace(voters(3), roles=("voter", "voter", "witness"))
    cluster = healthy(shape, seed)
    last = owner(cluster)
    other = cluster.machines["n2" if last.name == "n1" else "n1"]
    other.crash_machine()
    cluster.run_for(5.0)
    lead = leader(cluster)
    cluster.ask(lead, "drain", last.name)
    cluster.run_for(1.0)
    assert lead.node is not None
    assert last.name not in lead.node.state.controls.drained, "refused: nobody else could run it"
    told(cluster, "drain", last.name, force=True)
    cluster.run_for(LONG_S)
    assert owner(cluster) is last
    cluster.start_again(other)
    until(cluster, lambda: cluster.settled and owner(cluster) is other, "the other owner")
    all_safe(cluster)
