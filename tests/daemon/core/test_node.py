"""Whole nodes, wired by hand: they found, run one workload, hand it over, come back, and refuse strangers."""

from __future__ import annotations

import pytest

from mltb_transport.messages import Answer, Append, Election, Heartbeat, Ping, Renew, Request
from mltbd.core.effects import Leave, Reply, Send, StartWorkload
from mltbd.core.events import GuardSays, Lost, StopRequested, Strain, Tick
from mltbd.core.failover import Policy
from mltbd.core.log import InvariantViolation
from mltbd.core.voting import FOLLOWER
from tests.daemon.core.core_kit import THREE, TIMING, WALL, levels, of, sent
from tests.daemon.core.membership_kit import record
from tests.daemon.core.node_kit import Wired

ON_N3 = Policy(preferred={"main": ("n3", "n2", "n1")})
EVERYWHERE = Policy(preferred={"main": ("n1", "n2", "n3")})
LEAVE_S = 10.0


def three(**config: object) -> Wired:
    return Wired(*THREE, **config).settled()  # type: ignore[arg-type]


def apart() -> Wired:
    """n1 leads, n3 owns: the two roles on two nodes."""
    wired = three(policy=ON_N3)
    assert (wired.leader(), wired.owner(), wired.running()) == ("n1", "n3", ["n3"])
    return wired


# -- founding ------------------------------------------------------------------------------------------------------


def test_a_lonely_node_founds_leads_and_runs() -> None:
    wired = Wired("n1").settled()
    node = wired.nodes["n1"]
    assert (node.cluster, node.waiting_for(), node.consensus.leader) == ("c1", "", "n1")
    assert wired.running() == ["n1"]


def test_three_nodes_found_one_cluster_and_run_one_workload() -> None:
    wired = three()
    for node in wired.nodes.values():
        assert (node.cluster, node.consensus.leader, node.state.placements.get("main").owner) == ("c1", "n1", "n1")
        assert [voter.node for voter in node.state.voters] == list(THREE)
        assert node.membership.own.state == "ACTIVE"
        assert node.state.applied == node.consensus.commit
    assert wired.running() == ["n1"]


def test_a_founder_waits_for_the_others_and_says_so() -> None:
    wired = Wired(*THREE, absent=("n3",))
    wired.run(30.0)
    assert wired.nodes["n1"].cluster == ""
    assert wired.nodes["n1"].waiting_for() == "waiting for nodes: 2 of 3 have met"
    assert "CLUSTER_BOOTSTRAP" in wired.nodes["n2"].waiting_for()


def test_a_founder_that_ends_before_it_told_anybody_tells_them_later() -> None:
    wired = Wired(*THREE)
    wired.cut = {("n1", "n2"), ("n1", "n3")}
    assert wired.until(lambda: bool(wired.nodes["n1"].cluster), 10.0)
    assert [wired.nodes[name].cluster for name in THREE] == ["c1", "", ""]
    wired.stop("n1")
    wired.cut.clear()
    wired.begin("n1")
    assert wired.settled().leader() == "n1"


def test_a_witness_votes_and_runs_nothing() -> None:
    wired = Wired(*THREE, roles={"n1": "witness"}).settled()
    assert wired.owner() == "n2"
    assert wired.nodes["n1"].consensus.is_voter
    assert wired.nodes["n1"].ready() == ()


# -- losses --------------------------------------------------------------------------------------------------------


def test_the_loss_of_a_leader_does_not_touch_the_workload() -> None:
    wired = apart()
    token = wired.token()
    wired.stop("n1")
    assert wired.until(lambda: wired.leader() == "n2", TIMING.lease_s)
    wired.run(10.0)
    assert (wired.token(), wired.owner(), wired.running()) == (token, "n3", ["n3"])
    assert wired.done(StartWorkload) == []


def test_the_loss_of_an_owner_moves_the_workload_after_its_lease_and_not_before() -> None:
    wired = apart()
    lost_at = wired.now
    wired.stop("n3")
    assert wired.until(lambda: bool(wired.done(StartWorkload)), 2 * TIMING.lease_s)
    assert wired.now - lost_at > TIMING.lease_s - TIMING.renew_s
    assert (wired.owner(), wired.running()) == ("n2", ["n2"])


def test_leader_and_owner_lost_together() -> None:
    wired = three(policy=EVERYWHERE)
    wired.stop("n1")
    assert wired.until(lambda: wired.running() == ["n2"], TIMING.lease_s + 2 * TIMING.election_s)


@pytest.mark.parametrize("policy", [ON_N3, EVERYWHERE], ids=["leads only", "leads and owns"])
def test_a_leader_cut_off_steps_down(policy: Policy) -> None:
    wired = three(policy=policy)
    wired.isolate("n1")
    assert wired.until(lambda: wired.nodes["n1"].consensus.role == FOLLOWER, 2 * TIMING.election_s + 1.0)
    assert wired.until(lambda: wired.leader() == "n2", TIMING.lease_s)


def test_an_owner_cut_off_is_confirmed_by_nobody() -> None:
    wired = three()
    wired.isolate("n1")
    hold = wired.nodes["n1"].owner.holds["main"]
    until = hold.until
    wired.run(TIMING.lease_s)
    assert hold.until == until
    assert not wired.nodes["n1"].owner.holds_now("main", wired.now)
    assert wired.until(lambda: wired.running() == ["n2"], 1.0)
    assert wired.now > until


def test_a_broken_connection_to_the_leader_makes_the_others_stand_at_once() -> None:
    wired = apart()
    wired.stop("n1")
    lost_at = wired.now
    for name in ("n2", "n3"):
        wired.feed(name, Lost("n1"))
    assert wired.until(lambda: wired.leader() != "", TIMING.lease_s)
    assert wired.now - lost_at < TIMING.election_s


@pytest.mark.parametrize(("node", "told"), [("n2", "n3"), ("n1", "n2")])
def test_a_broken_connection_to_anybody_else_changes_nothing(node: str, told: str) -> None:
    wired = three()
    wired.feed(node, Lost(told))
    assert (wired.leader(), wired.nodes[node].consensus.leader) == ("n1", "n1")


def test_without_a_leader_an_owner_asks_every_voter() -> None:
    wired = apart()
    wired.stop("n1", "n2")
    assert wired.until(lambda: not wired.nodes["n3"].consensus.leader, TIMING.lease_s)
    wired.effects.clear()
    wired.run(TIMING.renew_s)
    asked = [to for to, _ in sent(Renew, [effect for _, _, effect in wired.effects])]
    assert set(asked) == {"n1", "n2"}
    assert len(asked) > 8  # and often: each moment of the old lease counts


# -- leaving -------------------------------------------------------------------------------------------------------


def test_who_is_asked_to_stop_hands_over_workload_and_leadership_and_leaves() -> None:
    wired = three()
    wired.feed("n1", StopRequested())
    assert wired.until(lambda: wired.left("n1"), LEAVE_S / 2)
    starts = wired.done(StartWorkload)
    assert [name for name, _ in starts] == ["n2"]
    wired.stop("n1")
    assert wired.until(lambda: wired.leader() == "n2", TIMING.election_s)
    placement = wired.nodes["n2"].state.placements.get("main")
    operation = list(wired.nodes["n2"].state.placements.operations.values())[-1]
    assert (placement.owner, operation.cause, operation.state) == ("n2", "handover", "done")


def test_the_next_owner_starts_only_when_the_first_is_gone() -> None:
    wired = three()
    wired.stubborn.add("n1")
    wired.feed("n1", StopRequested())
    wired.run(2 * TIMING.lease_s)
    assert wired.done(StartWorkload) == []  # a long stop is renewed: nobody else begins
    wired.gone("n1")
    assert wired.until(lambda: bool(wired.done(StartWorkload)), TIMING.election_s)


def test_a_workload_that_does_not_stop_keeps_nobody_for_ever() -> None:
    wired = three()
    wired.stubborn.add("n1")
    began = wired.now
    wired.feed("n1", StopRequested())
    assert wired.until(lambda: wired.left("n1"), 2 * LEAVE_S)
    assert wired.now - began == pytest.approx(LEAVE_S, abs=0.5)


def test_a_node_that_runs_nothing_leaves_at_once_and_says_so_to_the_others() -> None:
    wired = three()
    wired.feed("n3", StopRequested())
    assert wired.left("n3")
    told = wired.nodes["n1"].membership.record("n3")
    assert told is not None
    assert told.state == "LEAVING"


def test_being_asked_twice_is_being_asked_once() -> None:
    wired = three()
    wired.stubborn.add("n1")
    wired.feed("n1", StopRequested())
    due = wired.nodes["n1"].next_deadline()
    wired.run(1.0)
    wired.feed("n1", StopRequested())
    assert wired.until(lambda: wired.left("n1"), LEAVE_S - 0.5)
    assert due > 0
    wired.run(5.0)
    assert len(wired.done(Leave)) == 1


def test_the_last_node_leaves_too() -> None:
    wired = Wired("n1").settled()
    wired.feed("n1", StopRequested())
    assert wired.until(lambda: wired.left("n1"), 1.0)


def test_a_node_without_a_leader_does_not_wait_to_be_told_goodbye() -> None:
    wired = apart()
    wired.stop("n1", "n2")
    wired.run(TIMING.lease_s)
    began = wired.now
    wired.feed("n3", StopRequested())
    assert wired.until(lambda: wired.left("n3"), LEAVE_S / 2)
    assert wired.now - began < LEAVE_S / 2


# -- coming back ---------------------------------------------------------------------------------------------------


def test_a_daemon_that_comes_back_adopts_what_its_guard_still_runs() -> None:
    wired = apart()
    token = wired.token()
    deadline = wired.nodes["n3"].owner.holds["main"].until
    wired.run(0.5)
    wired.begin("n3", GuardSays("running", "main", token, pid=4711, deadline=deadline))
    wired.run(10.0)
    assert (wired.token(), wired.running(), wired.done(StartWorkload)) == (token, ["n3"], [])
    assert wired.nodes["n3"].owner.holds_now("main", wired.now)


def test_a_machine_that_comes_back_within_its_lease_goes_on_under_a_new_token() -> None:
    wired = apart()
    token = wired.token()
    wired.begin("n3")
    assert wired.until(lambda: bool(wired.done(StartWorkload)), TIMING.lease_s)
    assert wired.token() > token
    assert (wired.owner(), wired.running()) == ("n3", ["n3"])


def test_a_wiped_voter_votes_no_more() -> None:
    wired = three()
    wired.stop("n2")
    wired.begin("n2", wiped=True)
    wired.ask("n1", 1, "cancel_failback")
    wired.run(2.0)
    assert not wired.nodes["n2"].consensus.is_voter
    assert wired.nodes["n2"].state.applied == wired.nodes["n1"].state.applied  # it observes
    wired.stop("n1")
    wired.run(60.0)
    assert wired.leader() == ""  # n3 alone is no quorum of three


def test_a_slow_disk_applies_nothing_it_could_forget() -> None:
    wired = apart()
    wired.slow.add("n2")
    before = wired.nodes["n2"].state.applied
    wired.stop("n3")
    wired.run(0.1)
    wired.begin("n3")
    wired.run(2.0)
    assert wired.nodes["n2"].consensus.commit > before
    assert wired.nodes["n2"].state.applied == before
    wired.slow.clear()
    wired.saved("n2")
    assert wired.nodes["n2"].state.applied == wired.nodes["n2"].consensus.commit


# -- strangers and the dead ----------------------------------------------------------------------------------------

VOTE = Election(99, "vote", 99, 99, 100)


def test_another_clusters_word_counts_nothing() -> None:
    wired = three()
    assert sent(Answer, wired.hear("n2", "n9", VOTE, cluster="c2")) == []
    assert wired.nodes["n2"].counters == {"foreign": 1}
    assert wired.nodes["n2"].consensus.term < 99


def test_a_word_in_our_own_name_counts_nothing() -> None:
    wired = three()
    wired.hear("n2", "n2", VOTE)
    assert wired.nodes["n2"].counters == {"foreign": 1}


def test_who_knows_no_cluster_yet_is_no_foreigner() -> None:
    wired = three()
    assert sent(Answer, wired.hear("n2", "n9", VOTE, cluster="")) != []
    assert wired.nodes["n2"].counters == {}


def test_a_run_that_is_over_has_no_say() -> None:
    wired = three()
    wired.hear("n2", "n3", Ping(1), incarnation=5)
    for message in (Ping(2), VOTE, Append(99, 1, 0, 0, 0, (), ())):
        assert of(Send, wired.hear("n2", "n3", message, incarnation=4)) == []
    assert wired.nodes["n2"].counters == {"stale": 3}
    assert wired.nodes["n2"].consensus.term < 99


def test_gossip_of_a_foreign_cluster_is_refused_with_a_warning_by_membership() -> None:
    wired = three()
    foreign = Heartbeat(record("n9", cluster="c2"), ())
    effects = wired.hear("n2", "n9", foreign, cluster="c2")
    assert levels(effects) == ["warning"]
    assert wired.nodes["n2"].membership.record("n9") is None


def test_a_message_that_has_no_business_here_is_counted() -> None:
    wired = three()
    wired.hear("n2", "n3", Request(1, "status", "{}"))
    assert wired.nodes["n2"].counters == {"unexpected": 1}


# -- the node itself -----------------------------------------------------------------------------------------------


def test_a_leader_that_stood_still_for_half_a_lease_leads_no_more() -> None:
    wired = three()
    node = wired.nodes["n1"]
    effects = node.handle(Tick(), wired.now + TIMING.lease_s / 2 + 1.0, WALL)
    assert "warning" in levels(effects)
    assert (node.consensus.role, node.consensus.leader) == (FOLLOWER, "")


def test_a_follower_that_stood_still_waits_for_its_leader_anew() -> None:
    wired = three()
    node = wired.nodes["n2"]
    later = wired.now + TIMING.lease_s / 2 + 1.0
    effects = node.handle(Tick(), later, WALL)
    assert sent(Election, effects) == []
    assert node.consensus.next_deadline() == later + TIMING.election_s


def test_a_node_that_had_nothing_to_do_did_not_stand_still() -> None:
    node = Wired("n1", "n2", absent=("n2",)).nodes["n1"]
    heard_at = node.consensus.heard_at
    node.handle(Tick(), 200.0, WALL)
    assert node.consensus.heard_at == heard_at


def test_a_late_loop_is_told_to_the_others() -> None:
    wired = three()
    wired.feed("n2", Strain(0.9))
    wired.run(2.0)
    told = wired.nodes["n1"].membership.record("n2")
    assert told is not None
    assert told.strain > 0


def test_a_node_without_a_leader_answers_its_operator_too() -> None:
    wired = Wired(*THREE)
    wired.ask("n2", 1, "switchover", target="n3")
    assert [reply.code for reply in wired.replies(1)] == ["no_quorum"]
    assert isinstance(wired.replies(1)[0], Reply)


def test_what_is_applied_before_it_is_durable_is_noticed() -> None:
    node = three().nodes["n1"]
    node.consensus.durable = node.state.applied - 1
    with pytest.raises(InvariantViolation, match="before it was committed and durable"):
        node.check()


def test_no_node_asks_for_a_moment_that_has_passed() -> None:
    wired = apart()
    for _ in range(200):
        at, name = min((node.next_deadline(), name) for name, node in wired.nodes.items())
        wired.now = max(wired.now, at)
        wired.feed(name, Tick())
        assert wired.nodes[name].next_deadline() > wired.now
