"""Stories for planted bugs that chance alone tells too seldom. Without the bug every promise is kept in each."""

from __future__ import annotations

from mltb_transport.messages import Election
from mltbd.core.election import TRANSFER
from mltbd.core.events import Received
from mltbd.core.founding import Founder
from tests.sim.checkers import check_safety
from tests.sim.cluster import Cluster, Shape
from tests.sim.machine import Machine
from tests.sim.mixes import Mix
from tests.sim.scenario import Outcome
from tests.sim.stage import around, healthy, leader, until, voters

SOON_S = 0.3
AT_ONCE_S = (0.02, 0.05)
WRITTEN_S = 0.02
"""A disk that is not slow has written by then."""
LONG_S = 6.0


def _judged(cluster: Cluster, seed: int) -> Outcome:
    cluster.close()
    verdicts = check_safety(cluster.history, cluster.shape.lease_s)
    return Outcome(seed, cluster.shape, cluster.history, verdicts, cluster.events, "storm")


def asked_twice(seed: int, _mix: Mix, _shape: Shape) -> Outcome:
    """Two candidates of one term ask the same voter, which is restarted in between: the second one's word was late."""
    cluster = healthy(voters(3, 1.0), seed)
    voter = cluster.dice.choice([machine for machine in cluster.machines.values() if machine is not leader(cluster)])
    first, second = (machine for machine in cluster.machines.values() if machine is not voter)
    assert voter.node is not None
    consensus = voter.node.consensus
    asks = Election(consensus.term + 1, TRANSFER, consensus.log.last_index, consensus.log.last_term, 100)
    _hears(voter, first, asks)
    cluster.run_for(WRITTEN_S)
    voter.restart_s = AT_ONCE_S
    voter.crash_daemon()
    cluster.run_for(AT_ONCE_S[1])
    _hears(voter, second, asks)
    cluster.run_for(LONG_S)
    return _judged(cluster, seed)


def _hears(voter: Machine, candidate: Machine, asks: Election) -> None:
    node = candidate.node
    if node is not None:
        voter.feed(Received(candidate.name, node.incarnation, node.cluster, asks))


def held_by_one_disk(seed: int, _mix: Mix, _shape: Shape) -> Outcome:
    """The only follower within reach has a slow disk, and is killed soon after it was sent an entry. Then the leader's
    machine is lost, and whoever is left elects another."""
    cluster = healthy(voters(3, 1.0), seed)
    lead = leader(cluster)
    follower, absent = (machine for machine in cluster.machines.values() if machine is not lead)
    cluster.network.block(around(cluster, absent.name))
    follower.disk.slow = True
    cluster.ask(lead, "switchover", follower.name)
    cluster.run_for(SOON_S * cluster.dice.random())
    follower.crash_machine()
    lead.crash_machine()
    follower.disk.slow = False
    cluster.network.heal()
    cluster.start_again(follower)
    cluster.run_for(LONG_S)
    return _judged(cluster, seed)


def half_filled(seed: int, _mix: Mix, _shape: Shape) -> Outcome:
    """A voter that held the last entries is wiped, and has some of its log again when the leader is cut off. The third
    one never had them."""
    cluster = healthy(voters(3, 1.0), seed)
    lead = leader(cluster)
    follower, absent = (machine for machine in cluster.machines.values() if machine is not lead)
    cluster.network.block(around(cluster, absent.name))
    for target in (follower, lead):
        cluster.ask(lead, "switchover", target.name)
        cluster.run_for(SOON_S)
    follower.crash_machine()
    follower.wipe()
    follower.reconfigure(founder=Founder(False, 1, 1))
    follower.power_on()
    until(cluster, lambda: follower.node is not None and follower.node.consensus.log.last_index > 0, "any entry at all")
    cluster.network.heal()
    cluster.network.block(around(cluster, lead.name))
    cluster.run_for(LONG_S)
    return _judged(cluster, seed)


STORIES = (asked_twice, held_by_one_disk, half_filled)
