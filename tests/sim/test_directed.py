"""Stories told on purpose: what must not stop the workload, what must move it, and how long each may take."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mltbd.core.failover import Policy
from tests.sim.cluster import Cluster, Shape
from tests.sim.stage import (
    all_safe,
    apart,
    around,
    depositions,
    downs,
    healthy,
    leader,
    owner,
    reigns,
    until,
    ups,
    voters,
)

pytestmark = pytest.mark.sim

SEEDS = range(1, 6)
START_S = 0.5
SHAPES = [(3, 1.0), (3, 3.0), (5, 1.0), (5, 3.0)]
by_seed = pytest.mark.parametrize("seed", SEEDS)
by_shape = pytest.mark.parametrize(("count", "lease_s"), SHAPES)
by_place = pytest.mark.parametrize("same", [True, False], ids=["owner-leads", "owner-follows"])


@by_shape
@by_place
@by_seed
def test_daemon_crash_keeps_the_workload(seed: int, count: int, lease_s: float, *, same: bool) -> None:
    """As long as the new daemon is there within a tenth of the lease."""
    cluster = healthy(voters(count, lease_s), seed)
    apart(cluster, same=same)
    victim, began = owner(cluster), cluster.now
    victim.restart_s = (0.02 * lease_s, 0.1 * lease_s)
    victim.crash_daemon()
    cluster.run_for(4 * lease_s)
    assert not downs(cluster, began)
    assert owner(cluster) is victim
    all_safe(cluster)


@by_shape
@by_seed
def test_leader_loss_keeps_the_workload(seed: int, count: int, lease_s: float) -> None:
    """The machine of the leader dies; the owner, elsewhere, runs on."""
    cluster = healthy(voters(count, lease_s), seed)
    apart(cluster, same=False)
    began = cluster.now
    leader(cluster).crash_machine()
    cluster.run_for(4 * lease_s)
    assert leader(cluster)
    assert not downs(cluster, began)
    all_safe(cluster)


@by_shape
@by_seed
def test_leader_whose_disk_hangs_is_replaced(seed: int, count: int, lease_s: float) -> None:
    """It answers, and writes nothing any more. All other disks are well, and the workload, elsewhere, runs on."""
    cluster = healthy(voters(count, lease_s), seed)
    apart(cluster, same=False)
    stuck, began = leader(cluster), cluster.now
    stuck.disk.hangs = True
    cluster.ask(stuck, "pause")
    until(cluster, lambda: bool(reigns(cluster, began)), "other leader", 1.2 * cluster.shape.timing.election_s)
    cluster.run_for(20.0)
    stuck.disk.hangs = False
    cluster.run_for(20.0)
    assert len(reigns(cluster, began)) == 1
    assert not downs(cluster, began)
    all_safe(cluster)


@by_seed
def test_leader_whose_disk_hangs_does_not_hold_up_a_takeover(seed: int) -> None:
    """It may take the workload itself, and learn then what its disk is like: two leases."""
    cluster = healthy(voters(5), seed)
    apart(cluster, same=False)
    stuck = leader(cluster)
    stuck.disk.hangs = True
    owner(cluster).crash_machine()
    cluster.run_for(2 * cluster.shape.lease_s + cluster.shape.timing.election_s + START_S)
    assert leader(cluster) is not stuck
    assert owner(cluster) is not stuck
    all_safe(cluster)


@by_seed
def test_leader_whose_disk_hangs_is_kept_where_its_disk_is_needed(seed: int) -> None:
    """One of two: nobody can lead without it, and nothing is lost by waiting. Alone: the same."""
    for count in (1, 2):
        cluster = healthy(voters(count), seed)
        stuck, began = leader(cluster), cluster.now
        stuck.disk.hangs = True
        cluster.ask(stuck, "pause")
        cluster.run_for(30.0)
        stuck.disk.hangs = False
        cluster.run_for(5.0)
        assert not downs(cluster, began)
        assert not reigns(cluster, began)
        assert leader(cluster).node is not None
        all_safe(cluster)


@by_shape
@by_place
@by_seed
def test_slow_disks_keep_the_leader(seed: int, count: int, lease_s: float, *, same: bool) -> None:
    """Each write takes almost as long as an election waits, and there is always one."""
    cluster = healthy(voters(count, lease_s), seed)
    apart(cluster, same=same)
    began = cluster.now
    slowest_s = 0.9 * cluster.shape.timing.election_s
    for machine in cluster.machines.values():
        machine.disk.takes_s = (0.5 * slowest_s, slowest_s)
    for verb in ("pause", "resume") * 10:
        cluster.ask(leader(cluster), verb)
        cluster.run_for(slowest_s * cluster.dice.random())
    cluster.run_for(lease_s)
    assert not reigns(cluster, began)
    assert not downs(cluster, began)
    all_safe(cluster)


@by_shape
@by_place
def test_owner_loss_moves_the_workload(
    count: int, lease_s: float, capsys: pytest.CaptureFixture[str], *, same: bool
) -> None:
    """Elsewhere within lease + 0.5 s."""
    took = []
    for seed in range(1, 21):
        cluster = healthy(voters(count, lease_s), seed)
        apart(cluster, same=same)
        victim, began = owner(cluster), cluster.now
        victim.crash_machine()
        cluster.run_for(lease_s + START_S)
        again = ups(cluster, began)
        assert again, f"seed {seed}: runs nowhere {lease_s + START_S:.1f} s after its owner was lost"
        assert again[0].node != victim.name
        took.append(again[0].at - began)
        cluster.start_again(victim)
        cluster.run_for(2 * lease_s)
        all_safe(cluster)
    took.sort()
    with capsys.disabled():
        where = "leads" if same else "follows"
        print(
            f"\n  {count} nodes, lease {lease_s:g} s, owner {where}: running elsewhere after"
            f" {took[0]:.2f} to {took[-1]:.2f} s, median {took[len(took) // 2]:.2f} s",
            end="",
        )


@pytest.mark.parametrize("count", [1, 3, 5])
def test_without_faults_nothing_changes(count: int) -> None:
    cluster = healthy(voters(count), 1)
    began = cluster.now
    cluster.run_for(60.0)
    assert not downs(cluster, began)
    assert not reigns(cluster, began)
    assert len(cluster.owners) == 1
    all_safe(cluster)


def test_higher_priority_takes_the_lead_but_not_the_workload() -> None:
    """Leadership changes hands in calm; the workload, which is equally well anywhere by configured order, stays."""
    shape = replace(voters(3), priorities=(100, 100, 900), policy=Policy(preferred={"main": ("n1", "n2", "n3")}))
    cluster = healthy(shape, 2)
    leader(cluster).crash_daemon()
    cluster.run_for(5.0)
    began = cluster.now
    until(cluster, lambda: cluster.leader is cluster.machines["n3"], "takeover by priority", 90.0)
    cluster.run_for(10.0)
    assert owner(cluster).name == "n1"
    assert not downs(cluster, began)
    all_safe(cluster)


def test_failback_to_the_preferred_node() -> None:
    """Automatic, once the preferred node has been well for long enough; and nobody had to wait for a lease."""
    policy = Policy(preferred={"main": ("n2", "n1", "n3")}, recovery_wait_s=5.0)
    cluster = healthy(voters(3, policy=policy), 3)
    assert owner(cluster).name == "n2"
    preferred = owner(cluster)
    preferred.crash_machine()
    until(cluster, lambda: cluster.settled and owner(cluster).name == "n1", "failover")
    back = cluster.now
    cluster.start_again(preferred)
    cluster.run_for(0.1)
    began = cluster.now
    until(cluster, lambda: cluster.settled and owner(cluster).name == "n2", "failback", 60.0)
    assert cluster.now - back >= 5.0
    (stopped,), (started,) = downs(cluster, began), ups(cluster, began)
    assert started.at - stopped.at < 0.2
    all_safe(cluster)


@by_shape
@by_seed
def test_graceful_stop_hands_over(seed: int, count: int, lease_s: float) -> None:
    """SIGTERM to the owner: elsewhere as soon as it is gone here, without waiting for any lease."""
    cluster = healthy(voters(count, lease_s), seed)
    leaving, began = owner(cluster), cluster.now
    leaving.ask_to_stop()
    until(cluster, lambda: leaving.at_rest and cluster.settled, "handover")
    (stopped,), (started,) = downs(cluster, began), ups(cluster, began)
    assert started.at - stopped.at < 0.3
    cluster.run_for(2 * lease_s)
    assert len(downs(cluster, began)) == 1
    all_safe(cluster)


@by_shape
@by_place
@by_seed
def test_leaving_leader_passes_the_lead_on(seed: int, count: int, lease_s: float, *, same: bool) -> None:
    """By transfer, not by silence: also to the new owner, which asks for its lease at the same moment."""
    cluster = healthy(voters(count, lease_s), seed)
    apart(cluster, same=same)
    leaving, began = leader(cluster), cluster.now
    for machine in cluster.machines.values():
        machine.linked.discard(leaving.name)  # Nobody is told by a broken connection.
    leaving.ask_to_stop()
    until(cluster, lambda: cluster.settled and leader(cluster) is not leaving, "new leader")
    deposed, led = depositions(cluster, began)[0].at, reigns(cluster, began)[0].at
    assert led - deposed < cluster.shape.timing.election_s / 2
    cluster.run_for(2 * lease_s)
    all_safe(cluster)


@by_seed
def test_isolated_follower_comes_back_quietly(seed: int) -> None:
    """Pre-vote: who could not have won meanwhile deposes nobody when it returns."""
    cluster = healthy(voters(3), seed)
    name = next(n for n, m in cluster.machines.items() if m is not leader(cluster))
    began = cluster.now
    cluster.network.block(around(cluster, name))
    cluster.run_for(8.0)
    cluster.network.unblock(around(cluster, name))
    cluster.run_for(8.0)
    assert not depositions(cluster, began)
    all_safe(cluster)


def replaced_s(cluster: Cluster) -> float:
    """From a leader's going deaf until another leads: it steps down, the others notice, the first of them stands."""
    timing = cluster.shape.timing
    ranks_s = len(cluster.machines) * timing.step_s
    return 2 * timing.election_s + timing.heartbeat_s + timing.election_s + ranks_s + 0.2


def _replaced(cluster: Cluster, name: str, since: float) -> bool:
    return any(reign.node != name for reign in reigns(cluster, since))


@by_seed
def test_deaf_leader_is_replaced(seed: int) -> None:
    """A leader that is heard but hears nothing steps down and falls silent; a connected majority goes on without it."""
    cluster = healthy(voters(5), seed)
    deaf, began = leader(cluster), cluster.now
    cluster.network.block([(other, deaf.name) for other in cluster.machines if other != deaf.name])
    until(cluster, lambda: _replaced(cluster, deaf.name, began), "new leader", replaced_s(cluster))
    until(cluster, lambda: cluster.settled and owner(cluster) is not deaf, "workload elsewhere", 5.0)
    all_safe(cluster)


@by_place
@by_seed
def test_deaf_owner_loses_the_workload(seed: int, *, same: bool) -> None:
    """It asks and asks, and hears no answer: that must not keep the workload from running elsewhere."""
    cluster = healthy(voters(3), seed)
    apart(cluster, same=same)
    deaf, began = owner(cluster), cluster.now
    cluster.network.block([(other, deaf.name) for other in cluster.machines if other != deaf.name])
    # One that never acknowledged the new leader is listened to for one election timeout, no longer.
    most_s = replaced_s(cluster) + cluster.shape.timing.election_s + cluster.shape.lease_s + START_S
    until(cluster, lambda: cluster.settled and owner(cluster) is not deaf, "workload elsewhere", most_s)
    assert downs(cluster, began)[0].at <= began + 3.0
    cluster.run_for(10.0)
    assert len(ups(cluster, began)) == 1, f"seed {seed}: it moved more than once"
    all_safe(cluster)


@by_seed
def test_bridge_does_not_freeze_the_majority(seed: int) -> None:
    """Two halves joined by one node only, the leader in one of them: the other half and the bridge can elect."""
    cluster = healthy(voters(5), seed)
    names = sorted(cluster.machines, key=lambda n: n != leader(cluster).name)
    left, bridge, right = names[:2], names[2], names[3:]
    cluster.network.block([pair for a in left for b in right for pair in ((a, b), (b, a))])
    cluster.run_for(12.0)
    assert cluster.settled, f"seed {seed}: no leader or no workload with {bridge} as the bridge"
    all_safe(cluster)


@by_seed
def test_star_elects_its_hub(seed: int) -> None:
    """Only the node of the lowest priority reaches a quorum: nobody may refuse it for that."""
    cluster = healthy(replace(voters(5), priorities=(900, 800, 700, 600, 50)), seed)
    rest = [name for name in cluster.machines if name != "n5"]
    cluster.network.block([(a, b) for a in rest for b in rest if a != b])
    until(cluster, lambda: cluster.settled and leader(cluster).name == "n5", "hub that leads")
    cluster.run_for(10.0)
    assert leader(cluster).name == "n5"
    assert len(cluster.owners) == 1
    all_safe(cluster)


@by_seed
def test_frozen_owner_is_stopped_by_its_guard(seed: int) -> None:
    """SIGSTOP of the daemon: the workload ends in time, runs elsewhere, and the thawed daemon learns of it."""
    cluster = healthy(voters(3), seed)
    frozen, began = owner(cluster), cluster.now
    frozen.pause()
    cluster.run_for(3.0 + START_S)
    assert owner(cluster) is not frozen
    assert downs(cluster, began)[0].at <= began + 3.0
    frozen.resume()
    cluster.run_for(3.0)
    assert len(cluster.owners) == 1
    all_safe(cluster)


def test_observer_may_own_and_a_witness_never() -> None:
    shape = Shape(("voter", "witness", "voter", "observer"), (100, 900, 100, 100))
    cluster = healthy(shape, 4)
    for name in ("n1", "n3"):
        cluster.machines[name].guard.fails_until = float("inf")
        cluster.machines[name].guard.exits("main", 1)
    until(cluster, lambda: cluster.settled and owner(cluster).name == "n4", "start on the observer", 30.0)
    assert all(up.node != "n2" for up in ups(cluster, 0.0))
    all_safe(cluster)


@by_shape
@by_place
@by_seed
def test_false_alarms_restart_nothing(seed: int, count: int, lease_s: float, *, same: bool) -> None:
    """Connections to leader and owner break once a lease, for nothing: at most leadership may move."""
    cluster = healthy(voters(count, lease_s), seed)
    apart(cluster, same=same)
    began = cluster.now
    for _ in range(8):
        for broken in (leader(cluster).name, owner(cluster).name):
            for name, machine in cluster.machines.items():
                if name != broken and cluster.dice.random() < 0.8:
                    machine.hangs_up(broken)
        cluster.run_for(lease_s * cluster.dice.uniform(0.5, 1.5))
    cluster.run_for(2 * lease_s)
    assert cluster.settled
    assert not downs(cluster, began)
    all_safe(cluster)
