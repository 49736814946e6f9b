"""Alive but deaf, told on purpose: restarted here, then elsewhere, then back where it was well, then FAILED."""

from __future__ import annotations

import pytest

from mltb_transport.messages import Grant
from mltbd.core.health import Rule
from mltbd.core.retreat import has_failed
from mltbd.state.placements import Placement
from tests.sim.checks import CHECK, EVERY_S, RULE, Looks, strict
from tests.sim.cluster import WORKLOAD, Cluster, Shape
from tests.sim.faults import Faults
from tests.sim.history import Applied
from tests.sim.mixes import Mix
from tests.sim.scenario import draw_shape
from tests.sim.stage import all_safe, downs, leader, owner, until, ups, voters

pytestmark = pytest.mark.sim

SEEDS = range(1, 5)
FAULTY_S = 26.0
by_seed = pytest.mark.parametrize("seed", SEEDS)


def running(shape: Shape, seed: int, rule: Rule = RULE, late_s: float = 0.0) -> tuple[Cluster, Looks]:
    """Looked at, running, and well for long enough that its place is known as a good one."""
    cluster = Cluster(shape, seed)
    looks = Looks(cluster, rule, late_s)
    cluster.power_on()
    until(cluster, lambda: cluster.settled, "a healthy cluster")
    until(cluster, lambda: placement(cluster).proven == owner(cluster).name, "word that it is well here", 15.0)
    return cluster, looks


def placement(cluster: Cluster) -> Placement:
    node = leader(cluster).node
    assert node is not None
    return node.state.placements.get(WORKLOAD)


def grants(cluster: Cluster, since: float) -> list[Grant]:
    """Each once, in order."""
    found: dict[int, Grant] = {}
    for item in cluster.history:
        if isinstance(item, Applied) and item.at >= since and isinstance(item.entry.command, Grant):
            found.setdefault(item.entry.index, item.entry.command)
    return [found[index] for index in sorted(found)]


@by_seed
def test_one_bad_answer_moves_nothing(seed: int) -> None:
    cluster, looks = running(strict(voters(3)), seed)
    place, began = owner(cluster).name, cluster.now
    for _ in range(6):
        looks.deaf.add(place)
        cluster.run_for(EVERY_S)  # Exactly one look, or two at the most.
        looks.deaf.clear()
        cluster.run_for(2 * EVERY_S)
    assert not downs(cluster, began)
    all_safe(cluster)


@by_seed
def test_deaf_for_a_while_it_is_restarted_where_it_is_and_once(seed: int) -> None:
    """Results of the run that was ended arrive while the next one runs already."""
    cluster, looks = running(strict(voters(3)), seed, Rule(WORKLOAD, CHECK, 1, 2), late_s=2.5)
    place, began = owner(cluster), cluster.now
    looks.deaf.add(place.name)
    until(cluster, lambda: bool(downs(cluster, began)), "a restart")
    looks.deaf.clear()
    until(cluster, lambda: cluster.settled, "the next run", 5.0)
    cluster.run_for(20.0)
    assert owner(cluster) is place
    assert len(ups(cluster, began)) == 1
    all_safe(cluster)


@by_seed
def test_deaf_on_one_node_it_moves_after_three_tries(seed: int) -> None:
    cluster, looks = running(strict(voters(3)), seed)
    place, began = owner(cluster), cluster.now
    looks.deaf.add(place.name)
    until(cluster, lambda: cluster.settled and owner(cluster) is not place, "workload elsewhere", 30.0)
    assert [up.node for up in ups(cluster, began)].count(place.name) == 2  # With the run that turned deaf: three.
    cluster.run_for(30.0)
    assert owner(cluster) is not place
    assert placement(cluster).failed_on == (place.name,)
    assert placement(cluster).why == "check `sim`: deaf"
    all_safe(cluster)


@by_seed
def test_deaf_everywhere_it_is_tried_everywhere_and_then_left_alone(seed: int) -> None:
    """Each node once, once more where it was well before, and then no more: until an operator asks for it."""
    cluster, looks = running(strict(voters(3)), seed)
    place, began = owner(cluster).name, cluster.now
    looks.deaf.update(cluster.machines)
    until(cluster, lambda: has_failed(placement(cluster), 3), "an end of trying", 120.0)
    others = sorted(set(cluster.machines) - {place})
    made = grants(cluster, began)
    assert sorted(grant.owner for grant in made[:-1]) == others
    assert (made[-1].owner, made[-1].cause) == (place, "rollback")
    assert len(ups(cluster, began)) <= 2 + 3 * 3
    left = cluster.now
    cluster.run_for(60.0)
    assert not ups(cluster, left)
    all_safe(cluster)


@by_seed
def test_an_operator_need_not_wait_for_anything_to_cool_off(seed: int) -> None:
    cluster, looks = running(strict(voters(3), cool_s=20.0), seed)
    looks.deaf.update(cluster.machines)
    until(cluster, lambda: has_failed(placement(cluster), 3), "an end of trying", 120.0)
    looks.deaf.clear()
    cluster.run_for(0.5)
    last = placement(cluster).home
    cluster.ask(leader(cluster), "failover", last)
    until(cluster, lambda: cluster.settled and owner(cluster).name == last, "the operator's will", 5.0)
    assert placement(cluster).failed_on == ()
    all_safe(cluster)


@by_seed
def test_the_way_back_is_to_where_it_is_well(seed: int) -> None:
    """The others cannot run it at all; where it was well it is well again."""
    cluster, looks = running(strict(voters(3)), seed)
    place = owner(cluster).name
    looks.deaf.update(cluster.machines)
    until(cluster, lambda: owner_name(cluster) not in ("", place), "a first move", 30.0)
    looks.deaf.discard(place)
    until(cluster, lambda: owner_name(cluster) == place, "the way back", 90.0)
    until(cluster, lambda: placement(cluster).proven == place and cluster.settled, "good health", 15.0)
    cluster.run_for(70.0)
    assert owner_name(cluster) == place
    assert placement(cluster).attempts == 0, "forgotten once it is well again"
    all_safe(cluster)


def owner_name(cluster: Cluster) -> str:
    return cluster.owners[0].name if len(cluster.owners) == 1 else ""


@by_seed
def test_what_cannot_even_be_started_goes_the_same_way(seed: int) -> None:
    cluster, _ = running(strict(voters(3)), seed)
    began = cluster.now
    for machine in cluster.machines.values():
        machine.guard.fails_until = float("inf")
    owner(cluster).guard.exits(WORKLOAD, 1)
    until(cluster, lambda: has_failed(placement(cluster), 3), "an end of trying", 120.0)
    assert placement(cluster).why == "cannot be started"
    assert not ups(cluster, began)
    all_safe(cluster)


@pytest.mark.parametrize("seed", range(1, 21))
def test_under_all_faults_deafness_breaks_no_promise_and_passes(seed: int) -> None:
    cluster = Cluster(draw_shape(seed), seed)
    looks = Looks(cluster, late_s=0.3)
    faults = Faults(cluster, Mix())
    cluster.power_on()
    faults.begin()

    def turn() -> None:
        if cluster.now < FAULTY_S:
            looks.deaf = {name for name in cluster.machines if cluster.dice.random() < 0.4}
            cluster.at(cluster.now + cluster.dice.uniform(0.5, 4.0), turn)

    cluster.at(3.0, turn)
    cluster.run(FAULTY_S)
    faults.end()
    looks.deaf = set()
    until(cluster, lambda: cluster.settled, "a running workload", 30.0)
    cluster.run_for(5.0)
    until(cluster, lambda: cluster.settled, "that still runs, or has just moved back home", 5.0)
    all_safe(cluster)
