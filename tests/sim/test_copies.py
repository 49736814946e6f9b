"""Workloads that are no singletons: the promises over many seeds, and stories told on purpose."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from mltbd.core.failover import Policy
from mltbd.state.copies import copy_name
from tests.sim.cluster import Cluster
from tests.sim.planted import mostly
from tests.sim.planted_copies import copies_outlive_a_drain
from tests.sim.scenario import draw_shape, run_seed
from tests.sim.stage import all_safe, downs, healthy, leader, until, ups, voters
from tests.sim.test_holding import told

pytestmark = pytest.mark.sim

SEEDS = max(4, int(os.environ.get("MLTB_SIM_SEEDS", "200")) // 16)
FIRST = int(os.environ.get("MLTB_SIM_FIRST", "1"))
STORIES = range(1, 5)
CHUNK = 25
MIX = mostly(remove=0, admit=0, drain=3, crash_machine=3, crash_daemon=3, isolate=3, stop=2, hold=1)
"""Who was removed for good runs nothing in the end, so here nobody is."""
SPREAD = replace(voters(3), everywhere="web")


def runs(cluster: Cluster, node: str) -> bool:
    run = cluster.machines[node].guard.runs.get(copy_name("web", node))
    return run is not None and not run.cause


def others(cluster: Cluster, node: str) -> list[str]:
    return [name for name in cluster.machines if name != node]


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, CHUNK))
@pytest.mark.parametrize("undecided", [(), ("n1",), ("n2", "n3")], ids=["all agree", "n1 differs", "n1 is alone"])
def test_each_node_runs_its_own_copy_whatever_happens(first: int, undecided: tuple[str, ...]) -> None:
    failed = []
    for seed in range(first, min(first + CHUNK, FIRST + SEEDS)):
        shape = replace(draw_shape(seed), everywhere="web", undecided=undecided)
        outcome = run_seed(seed, MIX, shape)
        if outcome.failed:
            failed.append(outcome.explain())
    assert not failed, "\n\n".join(failed[:2])


@pytest.mark.parametrize("seed", STORIES)
def test_a_lost_node_is_nobodys_business_and_comes_back_to_a_new_token(seed: int) -> None:
    cluster = healthy(SPREAD, seed)
    lost, since = cluster.machines["n2"], cluster.now
    before = lost.guard.runs["web@n2"].token
    lost.crash_machine()
    cluster.run_for(10.0)
    assert not [up for up in ups(cluster, since) if up.workload.startswith("web")]
    assert all(down.node == "n2" for down in downs(cluster, since) if down.workload.startswith("web"))
    node = leader(cluster).node
    assert node is not None
    assert "web@n2" not in node.state.placements.by_workload
    cluster.start_again(lost)
    until(cluster, lambda: runs(cluster, "n2"), "copy on n2")
    assert lost.guard.runs["web@n2"].token > before
    all_safe(cluster)


@pytest.mark.parametrize("seed", STORIES)
def test_it_is_granted_without_anybody_asking_where_moves_are_by_hand(seed: int) -> None:
    cluster = healthy(replace(SPREAD, policy=Policy(automatic=False, max_attempts=1000)), seed)
    lost = cluster.machines["n3"]
    lost.crash_machine()
    cluster.run_for(8.0)
    cluster.start_again(lost)
    until(cluster, lambda: runs(cluster, "n3"), "copy on n3")
    all_safe(cluster)


def drain(seed: int) -> None:
    cluster = healthy(SPREAD, seed)
    since = cluster.now
    told(cluster, "drain", "n2")
    until(cluster, lambda: "web@n2" not in cluster.machines["n2"].guard.runs, "stop of the copy on n2")
    cluster.run_for(10.0)
    assert not runs(cluster, "n2")
    assert not [d for d in downs(cluster, since) if d.workload in ("web@n1", "web@n3")], "others are not touched"
    told(cluster, "undrain", "n2")
    until(cluster, lambda: runs(cluster, "n2"), "copy on n2")
    all_safe(cluster)


@pytest.mark.parametrize("seed", STORIES)
def test_a_drain_stops_the_copy_until_it_is_over(seed: int) -> None:
    drain(seed)


def test_the_story_of_a_drain_notices_a_copy_that_runs_on(monkeypatch: pytest.MonkeyPatch) -> None:
    copies_outlive_a_drain(monkeypatch)
    with pytest.raises(AssertionError, match="stop of the copy"):
        drain(1)


@pytest.mark.parametrize("seed", STORIES)
def test_a_copy_is_moved_by_nobody(seed: int) -> None:
    cluster = healthy(SPREAD, seed)
    node = leader(cluster).node
    assert node is not None
    since = cluster.now
    for name in ("web@n1", "web"):
        for verb in ("switchover", "failover", "failback"):
            cluster.ask(leader(cluster), verb, "n2", workload=name)
    cluster.run_for(5.0)
    assert not downs(cluster, since)
    assert not [o for o in node.state.placements.operations.values() if o.cause == "switchover"]
    all_safe(cluster)


@pytest.mark.parametrize("seed", STORIES)
def test_nodes_that_are_configured_anew_one_by_one_never_run_both_forms(seed: int) -> None:
    """From a singleton to copies: while one node after the other comes back with its new configuration."""
    cluster = healthy(replace(SPREAD, undecided=("n1", "n2", "n3")), seed)
    until(cluster, lambda: any("web" in m.guard.runs for m in cluster.machines.values()), "singleton")
    for name in ("n1", "n2", "n3"):
        machine = cluster.machines[name]
        machine.crash_machine()
        machine.reconfigure(workloads=("main", copy_name("web", name)))
        cluster.run_for(1.0)
        cluster.start_again(machine)
        cluster.run_for(8.0)
    until(cluster, lambda: all(runs(cluster, name) for name in cluster.machines), "copies everywhere")
    node = leader(cluster).node
    assert node is not None
    assert node.state.placements.replaced("web")
    all_safe(cluster)
