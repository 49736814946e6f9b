"""Nodes of neighbouring versions in one cluster: upgraded one by one, taken back, and what may go wrong meanwhile."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace

import pytest

from mltbd.core.level_rules import Speaks
from tests.sim.cluster import Cluster
from tests.sim.history import Raised, Refused
from tests.sim.planted_levels import UPGRADES, growing, mixed, second_version
from tests.sim.scenario import run_seed
from tests.sim.stage import all_safe, healthy, leader, owner, until, ups, voters

pytestmark = pytest.mark.sim

SEEDS = max(10, int(os.environ.get("MLTB_SIM_SEEDS", "200")) // 8)
FIRST = int(os.environ.get("MLTB_SIM_FIRST", "1"))
CHUNK = 25
STORIES = range(1, 5)
OLD, NEW, LATER = Speaks(1, 1), Speaks(1, 2), Speaks(2, 3)
PATIENCE_S = 5.0


@pytest.fixture(autouse=True)
def _second_version(monkeypatch: pytest.MonkeyPatch) -> None:
    second_version(monkeypatch)


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, CHUNK))
def test_every_promise_is_kept_among_mixed_versions(first: int) -> None:
    failed, seen = [], Counter[str]()
    for seed in range(first, min(first + CHUNK, FIRST + SEEDS)):
        outcome = run_seed(seed, UPGRADES, (mixed, growing)[seed % 2](seed))
        seen.update(type(happening).__name__ for happening in outcome.history)
        if outcome.failed:
            failed.append(outcome.explain())
    assert not failed, "\n\n".join(failed[:2])
    assert seen["Raised"], "no level was ever raised"
    assert seen["Refused"], "nobody was ever refused"


def level(cluster: Cluster) -> int:
    node = leader(cluster).node
    return node.levels.level if node is not None else 0


def old_cluster(seed: int, count: int = 3) -> Cluster:
    return healthy(voters(count, newest=(1,) * (count - 1) + (2,), level_patience_s=PATIENCE_S), seed)


def exchange(cluster: Cluster, name: str, speaks: Speaks) -> None:
    cluster.exchange(cluster.machines[name], speaks)
    until(cluster, lambda: cluster.settled, f"{name} back")
    cluster.run_for(1.0)


@pytest.mark.parametrize("seed", STORIES)
def test_the_level_rises_once_the_last_node_has_been_new_for_long_enough(seed: int) -> None:
    cluster = old_cluster(seed)
    for name in ("n1", "n2"):
        assert level(cluster) == 1
        exchange(cluster, name, NEW)
    new_since = cluster.now
    until(cluster, lambda: level(cluster) == 2, "level 2")
    assert cluster.now - new_since > PATIENCE_S - 2.0
    until(
        cluster,
        lambda: all(m.node and m.node.levels.level == 2 for m in cluster.machines.values()),
        "level 2 everywhere",
    )
    all_safe(cluster)


@pytest.mark.parametrize("seed", STORIES)
def test_an_upgrade_is_taken_back_before_the_level_has_risen(seed: int) -> None:
    cluster = old_cluster(seed)
    for name in ("n1", "n2"):
        exchange(cluster, name, NEW)
    for name in ("n3", "n2", "n1"):
        exchange(cluster, name, OLD)
    cluster.run_for(2 * PATIENCE_S)
    assert level(cluster) == 1
    assert not [h for h in cluster.history if isinstance(h, Raised | Refused)]
    all_safe(cluster)


@pytest.mark.parametrize("seed", STORIES)
def test_an_old_build_is_refused_once_the_level_has_risen_and_taken_back_in_when_it_is_new(seed: int) -> None:
    cluster = old_cluster(seed)
    for name in ("n1", "n2"):
        exchange(cluster, name, NEW)
    until(cluster, lambda: level(cluster) == 2, "level 2")
    old = next(name for name in ("n1", "n2", "n3") if name not in (leader(cluster).name, owner(cluster).name))
    cluster.run_for(1.0)
    cluster.exchange(cluster.machines[old], OLD)
    until(cluster, lambda: not cluster.machines[old].on, "refusal")
    (refused,) = [h for h in cluster.history if isinstance(h, Refused)]
    assert "the cluster is at protocol level 2, this mltbd speaks 1: install a newer mltbd" in refused.why
    cluster.run_for(2.0)
    assert cluster.settled
    exchange(cluster, old, NEW)
    machine = cluster.machines[old]
    until(cluster, lambda: machine.node is not None and machine.node.levels.level == 2, "the new build")
    all_safe(cluster)


@pytest.mark.parametrize("seed", STORIES)
def test_a_build_that_is_too_new_is_refused_as_well(seed: int) -> None:
    cluster = old_cluster(seed)
    since = cluster.now
    other = next(name for name in ("n1", "n2", "n3") if name not in (leader(cluster).name, owner(cluster).name))
    cluster.exchange(cluster.machines[other], LATER)
    until(cluster, lambda: not cluster.machines[other].on, "refusal")
    (refused,) = [h for h in cluster.history if isinstance(h, Refused)]
    assert "level 1, this mltbd speaks 2 to 3: install an older mltbd" in refused.why
    cluster.run_for(3.0)
    assert not ups(cluster, since)
    all_safe(cluster)


@pytest.mark.parametrize("seed", STORIES)
def test_an_old_machine_that_joins_late_learns_nothing_and_ends(seed: int) -> None:
    shape = replace(growing(2), roles=("voter", "voter", "voter", "observer"), lease_s=3.0, level_patience_s=1.0)
    cluster = healthy(shape, seed)
    until(cluster, lambda: level(cluster) == 2, "level 2")
    late = cluster.machines["n4"]
    late.power_on()
    until(cluster, lambda: not late.on, "refusal")
    assert not late.disk.entries
    assert late.disk.snapshot is None
    all_safe(cluster)


@pytest.mark.parametrize("seed", STORIES)
def test_the_level_waits_for_a_silent_voter(seed: int) -> None:
    cluster = old_cluster(seed)
    exchange(cluster, "n1", NEW)
    exchange(cluster, "n2", NEW)
    silent = next(name for name in ("n1", "n2", "n3") if name not in (leader(cluster).name, owner(cluster).name))
    cluster.machines[silent].crash_machine()
    cluster.run_for(3 * PATIENCE_S)
    assert level(cluster) == 1
    node = leader(cluster).node
    assert node is not None
    assert silent in node.levels.waits(leader(cluster).clock.local(cluster.now))
    cluster.start_again(cluster.machines[silent])
    until(cluster, lambda: level(cluster) == 2, "level 2")
    all_safe(cluster)
