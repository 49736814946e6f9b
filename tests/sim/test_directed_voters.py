"""Stories of nodes that join, leave, lose their disk and are removed; and what must never come of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mltbd.core.archive import Compaction
from tests.sim.checkers import TRUE, check_safety
from tests.sim.cluster import WORKLOAD, Cluster, Shape
from tests.sim.history import Replied
from tests.sim.machine import Machine
from tests.sim.planted_voters import before_own_term
from tests.sim.stage import all_safe, around, depositions, healthy, leader, owner, reigns, switch, until, ups

pytestmark = pytest.mark.sim

SEEDS = range(1, 6)
by_seed = pytest.mark.parametrize("seed", SEEDS)


def crowd(*roles: str, late: int = 0) -> Shape:
    return Shape(roles=roles, priorities=(100,) * len(roles), late=late)


def voters(cluster: Cluster) -> list[str]:
    node = leader(cluster).node
    assert node is not None
    return sorted(node.consensus.voters) if node.consensus.log.voters_index <= node.consensus.commit else []


def intact(cluster: Cluster) -> bool:
    """Every voter has the disk that was agreed on."""
    found = cluster.leader
    if found is None or found.node is None:
        return False
    stores = {machine.name: machine.disk.store for machine in cluster.machines.values()}
    return all(stores[node] == store for node, store in found.node.consensus.voters.items())


def _votes(cluster: Cluster, machine: Machine) -> bool:
    """With the disk it has now."""
    found = cluster.leader
    return bool(found and found.node and found.node.consensus.voters.get(machine.name) == machine.disk.store)


def asked(cluster: Cluster, verb: str, target: str) -> Replied:
    """What the leader answers."""
    number = cluster.ask(leader(cluster), verb, target)
    until(cluster, lambda: _reply(cluster, number) is not None, f"answer to {verb} {target}", 5.0)
    reply = _reply(cluster, number)
    assert reply is not None
    return reply


def _reply(cluster: Cluster, number: int) -> Replied | None:
    return next((h for h in cluster.history if isinstance(h, Replied) and h.request == number), None)


def follower(cluster: Cluster) -> Machine:
    """A voter that neither leads nor owns."""
    busy = {leader(cluster).name, owner(cluster).name}
    return next(cluster.machines[name] for name in voters(cluster) if name not in busy)


@pytest.mark.parametrize(
    ("shape", "begin", "end"),
    [
        (crowd("voter", "voter", "voter", late=2), ["n1"], ["n1", "n2", "n3"]),
        (crowd("voter", "voter", "witness", late=1), ["n1", "n2"], ["n1", "n2", "n3"]),
        (crowd("voter", "voter", late=1), ["n1"], ["n1"]),  # two voters would be worse than one
        (crowd("voter", "observer", "observer", late=2), ["n1"], ["n1"]),
        (crowd("voter", "voter", "voter", "voter", late=1), ["n1", "n2", "n3"], ["n1", "n2", "n3"]),
    ],
)
@by_seed
def test_a_cluster_grows_to_three_voters(seed: int, shape: Shape, begin: list[str], end: list[str]) -> None:
    cluster = healthy(shape, seed)
    assert voters(cluster) == begin
    for machine in cluster.machines.values():
        machine.power_on()
    cluster.run_for(20.0)
    assert voters(cluster) == end
    observers = [m.node for m in cluster.machines.values() if m.node is not None and m.name not in end]
    assert all(node.state.applied > 1 for node in observers), "an observer does not replicate"
    assert not depositions(cluster, 0.0)
    all_safe(cluster)


@by_seed
@pytest.mark.parametrize("count", [3, 5])
def test_a_wiped_voter_votes_again_once_it_has_caught_up(seed: int, count: int) -> None:
    cluster = healthy(crowd(*("voter",) * count), seed)
    began = cluster.now
    for victim in [m for m in cluster.machines.values() if m is not leader(cluster) and m is not owner(cluster)]:
        victim.crash_machine()
        victim.wipe()
        cluster.run_for(1.0)
        cluster.start_again(victim)
        until(cluster, lambda m=victim: _votes(cluster, m), f"{victim.name} readmitted")  # type: ignore[misc]
        cluster.run_for(0.5)
        assert len(voters(cluster)) == count
    assert not depositions(cluster, began)
    all_safe(cluster)


@by_seed
@pytest.mark.parametrize("lost", ["n1", "n2"])
def test_a_founding_voter_that_never_heard_of_it_elects(seed: int, lost: str) -> None:
    """Cut off until the founding had gone into a snapshot; then the disk of the only other follower is lost.

    Its empty disk is the very one the founding names, and has acknowledged nothing: so it may vote for any log.
    """
    shape = replace(crowd("voter", "voter", "voter"), compaction=Compaction(entries=1, tail=1))
    cluster = Cluster(shape, seed)
    founder, second, unaware = cluster.machines.values()
    cluster.power_on()
    until(cluster, lambda: _last(founder) > 0, "the founding")
    cluster.network.block(around(cluster, unaware.name))
    until(cluster, lambda: cluster.settled, "a cluster of two")
    for target in (second, founder, second):
        switch(cluster, target.name)
    kept, gone = (second, founder) if lost == founder.name else (founder, second)
    assert kept.node is not None
    assert (kept.node.consensus.log.holds(1), _last(unaware)) == (False, 0)
    kept.crash_machine()
    gone.crash_machine()
    gone.wipe()
    cluster.run_for(1.0)
    cluster.network.heal()
    cluster.start_again(kept)
    cluster.start_again(gone)
    until(cluster, lambda: intact(cluster) and cluster.settled, "a leader, and three voters with the disks they have")
    assert _last(unaware) > 0
    all_safe(cluster)


@by_seed
def test_a_new_disk_that_ended_before_it_knew_where_its_time_begins_asks_again(seed: int) -> None:
    """It has part of the log, from before the token that its earlier disk had."""
    shape = replace(crowd("voter", "voter", "voter"), compaction=Compaction(entries=12, tail=1))
    cluster = healthy(shape, seed)
    again = next(machine for machine in cluster.machines.values() if machine is not leader(cluster))
    other = next(machine for machine in cluster.machines.values() if machine is not again)
    while owner(cluster) is not again or not 0 < _covered(leader(cluster)) < _token(leader(cluster)):
        switch(cluster, (again if owner(cluster) is not again else other).name)
    cluster.run_for(0.5)
    token, began = _token(leader(cluster)), cluster.now
    again.crash_machine()
    again.wipe()
    cluster.start_again(again)
    until(cluster, lambda: _last(again) > 0, "the beginning of the log", 2.0)
    cluster.network.block(around(cluster, again.name))
    cluster.run_for(0.05)
    assert 0 < _last(again) < token
    again.crash_daemon()
    until(cluster, lambda: again.node is not None, "its next run", 2.0)
    assert 0 < _last(again) < token
    cluster.network.heal()
    until(cluster, lambda: bool(ups(cluster, began)), "an owner")
    assert all(up.token > token for up in ups(cluster, began))
    all_safe(cluster)


def _covered(machine: Machine) -> int:
    """By its snapshot."""
    return machine.node.consensus.log.covered if machine.node is not None else 0


def _token(machine: Machine) -> int:
    assert machine.node is not None
    return machine.node.state.placements.get(WORKLOAD).token


def _last(machine: Machine) -> int:
    """How far its log has come."""
    return machine.node.consensus.log.last_index if machine.node is not None else 0


@by_seed
def test_a_removed_voter_is_replaced_by_the_best_observer(seed: int) -> None:
    cluster = healthy(replace(crowd(*("voter",) * 5, late=2), priorities=(100, 100, 100, 50, 60)), seed)
    for name in ("n4", "n5"):
        cluster.machines[name].power_on()
    cluster.run_for(8.0)
    gone = follower(cluster).name
    assert asked(cluster, "remove_node", gone).code == ""
    until(cluster, lambda: len(voters(cluster)) == 3, "three voters again")
    assert set(voters(cluster)) == ({"n1", "n2", "n3", "n5"} - {gone})
    all_safe(cluster)


@by_seed
def test_a_removed_node_is_told_and_disturbs_nobody(seed: int) -> None:
    cluster = healthy(crowd("voter", "voter", "voter"), seed)
    out, began = follower(cluster), cluster.now
    out.crash_machine()  # It is not there to hear of it.
    assert asked(cluster, "remove_node", out.name).code == ""
    cluster.start_again(out)
    until(cluster, lambda: out.node is not None and out.node.belonging.removed, "a removed node that knows")
    cluster.run_for(20.0)
    out.crash_daemon()
    cluster.run_for(20.0)
    assert out.node is not None
    assert out.node.belonging.removed
    assert len(voters(cluster)) == 2
    for machine in cluster.machines.values():
        assert machine is out or (machine.node is not None and machine.node.membership.record(out.name) is None)
    assert not depositions(cluster, began)
    all_safe(cluster)


@by_seed
@pytest.mark.parametrize("how", ["wiped", "admitted"])
def test_a_removed_node_is_let_in_again(seed: int, how: str) -> None:
    """Wiped it is another node; with its old disk it needs the operator's word."""
    cluster = healthy(crowd("voter", "voter", "voter"), seed)
    out = follower(cluster)
    assert asked(cluster, "remove_node", out.name).code == ""
    cluster.run_for(8.0)
    assert len(voters(cluster)) == 2
    if how == "wiped":
        out.crash_machine()
        out.wipe()
        cluster.run_for(1.0)
        cluster.start_again(out)
    else:
        assert asked(cluster, "admit_node", out.name).code == ""
    until(cluster, lambda: len(voters(cluster)) == 3, "three voters again", 30.0)
    assert out.node is not None
    assert not out.node.belonging.removed
    all_safe(cluster)


@by_seed
def test_who_left_cleanly_comes_back_with_another_disk(seed: int) -> None:
    """All have forgotten it but for its last version; that must not shut the new disk out."""
    cluster = healthy(crowd("voter", "voter", "voter"), seed)
    away = follower(cluster)
    for _ in range(3):  # Its incarnation has grown: what comes back begins far below.
        away.crash_daemon()
        cluster.run_for(2.0)
    away.ask_to_stop()
    until(cluster, lambda: away.at_rest, "a node that left")
    cluster.run_for(2 * cluster.shape.node_timeout_s)
    away.wipe()
    away.power_on()
    until(cluster, lambda: intact(cluster) and len(voters(cluster)) == 3, "its vote", 30.0)
    all_safe(cluster)


@by_seed
def test_a_leader_that_is_removed_leads_until_it_is_committed(seed: int) -> None:
    cluster = healthy(crowd("voter", "voter", "voter", "voter"), seed)
    name = leader(cluster).name
    if owner(cluster).name == name:
        other = next(n for n in cluster.machines if n != name)
        switch(cluster, other)
        cluster.run_for(2.0)
    if leader(cluster).name == name:
        assert asked(cluster, "remove_node", name).code == ""
    until(cluster, lambda: cluster.leader is not None and leader(cluster).name != name, "another leader", 3.0)
    cluster.run_for(10.0)
    assert name not in voters(cluster)
    assert len(voters(cluster)) == 3
    all_safe(cluster)


@by_seed
def test_nobody_is_removed_at_the_price_of_the_quorum(seed: int) -> None:
    cluster = healthy(crowd("voter", "voter", "voter"), seed)
    lost, staying = follower(cluster), leader(cluster).name
    lost.crash_machine()
    cluster.run_for(4.0)
    other = next(n for n in voters(cluster) if n not in (lost.name, staying))
    assert asked(cluster, "remove_node", other).code == "refused"
    assert asked(cluster, "remove_node", owner(cluster).name).code == "refused"
    assert asked(cluster, "promote_node", lost.name).code == "refused"
    assert asked(cluster, "admit_node", lost.name).code == "refused"
    assert asked(cluster, "remove_node", lost.name).code == ""
    assert len(voters(cluster)) == 2
    all_safe(cluster)


@by_seed
def test_a_leader_that_removes_itself_hands_over_by_priority(seed: int) -> None:
    """Not by name: the witness between them stands last."""
    cluster = healthy(replace(crowd("voter", "witness", "voter"), priorities=(300, 10, 200)), seed)
    until(cluster, lambda: leader(cluster).name == "n1", "leader by priority", 60.0)
    if owner(cluster).name == "n1":
        switch(cluster, "n3")
    cluster.run_for(1.0)
    began = cluster.now
    cluster.ask(leader(cluster), "remove_node", "n1")
    until(cluster, lambda: len(reigns(cluster, began)) > 0, "another leader", 0.5)
    assert [reign.node for reign in reigns(cluster, began)] == ["n3"]
    all_safe(cluster)


@by_seed
def test_a_removal_half_done_blocks_nobody(seed: int) -> None:
    """The leader of two removes itself, and only its own log knows when it crashes: it must be able to stand again."""
    cluster = healthy(crowd("voter", "voter"), seed)
    first = leader(cluster)
    if owner(cluster) is first:
        cluster.ask(first, "switchover", next(n for n in cluster.machines if n != first.name))
        until(cluster, lambda: cluster.settled and owner(cluster) is not first, "switchover")
        cluster.run_for(1.0)
    cluster.network.block(around(cluster, first.name))
    cluster.ask(first, "remove_node", first.name)
    cluster.run_for(0.1)
    first.crash_machine()
    cluster.network.unblock(around(cluster, first.name))
    cluster.run_for(1.0)
    cluster.start_again(first)
    until(cluster, lambda: cluster.settled, "leader and workload")
    all_safe(cluster)


def _two_histories(seed: int) -> Cluster:
    """Raft's counterexample of 2015: two leaders each change the same four voters, and neither knows of the other."""
    cluster = healthy(crowd(*("voter",) * 5), seed)
    until(cluster, lambda: len(voters(cluster)) == 5, "five voters")
    one = leader(cluster)
    two, three, four, five = (m for m in cluster.machines.values() if m is not one)
    if owner(cluster) is not two:
        cluster.ask(one, "switchover", two.name)
        until(cluster, lambda: cluster.settled and owner(cluster) is two, "switchover")
    assert asked(cluster, "remove_node", five.name).code == ""
    cluster.run_for(0.5)
    assert asked(cluster, "admit_node", five.name).code == ""
    until(cluster, lambda: _follows(one, five), "the fifth as an observer", 12.0)
    assert len(voters(cluster)) == 4
    cluster.network.block(around(cluster, one.name))
    cluster.ask(one, "promote_node", five.name)
    cluster.run_for(0.2)
    one.crash_machine()
    cluster.network.unblock(around(cluster, one.name))
    cluster.run_for(10.0, lambda: cluster.leader is not None)
    second = leader(cluster)
    third = two if second is not two else three
    rest = [m for m in (two, three, four, five) if m not in (second, third)]
    apart = [(a.name, b.name) for a in (second, third) for b in (*rest, one)]
    cluster.network.block([pair for a, b in apart for pair in ((a, b), (b, a))])
    cluster.ask(second, "remove_node", one.name)
    cluster.run_for(0.5)
    cluster.start_again(one)
    cluster.run_for(10.0)
    cluster.network.unblock([pair for a, b in apart for pair in ((a, b), (b, a))])
    cluster.run_for(5.0)
    return cluster


def _follows(one: Machine, other: Machine) -> bool:
    reign = one.node.consensus.reign if one.node is not None else None
    peer = reign.peers.get(other.name) if reign is not None else None
    return peer is not None and one.node is not None and peer.match_index == one.node.consensus.commit


@by_seed
def test_no_change_before_an_entry_of_the_own_term(seed: int) -> None:
    all_safe(_two_histories(seed))


def test_the_story_of_the_two_histories_bites(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without that rule it ends badly."""
    before_own_term(monkeypatch)
    for seed in range(1, 21):
        cluster = _two_histories(seed)
        cluster.close()
        if any(verdict.answer != TRUE for verdict in check_safety(cluster.history, cluster.shape.lease_s)):
            return
    pytest.fail("a change of the voters before an entry of the own term was not noticed")
