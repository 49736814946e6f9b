"""What SPLIT_BRAIN_PREVENTION=False gives, and what it costs: both are shown, and neither is more than is said."""

from __future__ import annotations

import pytest

from tests.sim.checkers import FALSE, check_safety
from tests.sim.stage import around, downs, healthy, leader, owner, until, ups, voters

pytestmark = pytest.mark.sim

SEEDS = range(1, 5)
LONG_S = 15.0


@pytest.mark.parametrize("seed", SEEDS)
def test_who_runs_it_runs_on_when_all_others_are_lost_and_keeps_it_when_they_return(seed: int) -> None:
    cluster = healthy(voters(3, lease_enforced=False), seed)
    left, since = owner(cluster), cluster.now
    others = [machine for machine in cluster.machines.values() if machine is not left]
    for other in others:
        other.crash_machine()
    cluster.run_for(LONG_S)
    assert cluster.owners == [left]
    for other in others:
        cluster.start_again(other)
    until(cluster, lambda: cluster.settled, "a leader")
    cluster.run_for(LONG_S)
    assert cluster.owners == [left]
    assert downs(cluster, since) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_the_price_is_two_owners_until_they_meet_again(seed: int) -> None:
    cluster = healthy(voters(3, lease_enforced=False), seed)
    cut = owner(cluster)
    cluster.network.block(around(cluster, cut.name))
    until(cluster, lambda: len(cluster.owners) == 2, "a second owner")
    cluster.run_for(LONG_S)
    assert len(cluster.owners) == 2
    cluster.network.unblock(around(cluster, cut.name))
    until(cluster, lambda: cluster.settled, "one owner")
    assert cluster.owners != [cut], "the younger token stands"
    cluster.close()
    broken = {v.checker for v in check_safety(cluster.history, cluster.shape.lease_s) if v.answer == FALSE}
    assert broken == {"one at a time", "cut off stops"}


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_started_without_a_majority(seed: int) -> None:
    cluster = healthy(voters(3, lease_enforced=False), seed)
    survivor = next(machine for machine in cluster.machines.values() if machine is not owner(cluster))
    since = cluster.now
    for machine in cluster.machines.values():
        if machine is not survivor:
            machine.crash_machine()
    cluster.run_for(LONG_S)
    assert ups(cluster, since) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_daemon_that_hangs_is_stopped_all_the_same(seed: int) -> None:
    cluster = healthy(voters(3, lease_enforced=False), seed)
    hung = owner(cluster)
    hung.pause()
    until(cluster, lambda: hung not in cluster.owners, "the guard to stop it")
    until(cluster, lambda: cluster.settled and leader(cluster) is not hung, "another owner")
