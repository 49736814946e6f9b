"""A reign from its rounds to its end: who stays, who steps down, and how leadership changes hands."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mltb_transport.messages import Append, CancelFailback, Election, Entry, NoOp, TimeoutNow
from mltb_transport.voters import ChangeVoters, Voter
from mltbd.core.election import PRE, PROBE, TRANSFER, VOTE
from mltbd.core.leadership import CONFIRMATIONS_MAX
from mltbd.core.log import InvariantViolation
from mltbd.core.voting import FOLLOWER, LEADER
from tests.daemon.core.core_kit import (
    FIVE,
    THREE,
    TIMING,
    WALL,
    Company,
    Member,
    entries,
    levels,
    log_of,
    saves,
    sent,
    store,
)

CANCEL = CancelFailback("main")
BEAT = Append(1, 1, 1, 1, 0, ("n2",), ())


# -- rounds --------------------------------------------------------------------------------------------------------


def test_heartbeats_keep_their_pace_and_carry_their_round() -> None:
    member = Member()
    now = member.lead("n2")
    member.acked("n2", 1, 2, now)
    member.tick(now)
    member.out.take()
    assert member.consensus.next_deadline() == now + TIMING.heartbeat_s
    member.tick(now + TIMING.heartbeat_s - 0.001)
    assert member.sent(Append) == []
    member.tick(now + TIMING.heartbeat_s)
    beats = member.sent(Append)
    assert [(node, a.round, a.alive) for node, a in beats] == [("n2", 2, ("n1", "n2")), ("n3", 2, ("n1", "n2"))]


def test_a_follower_that_forgot_what_it_acknowledged_is_asked_once_a_round() -> None:
    """Its disk was put back to an earlier state, say: asked at once each time, both would do nothing else any more."""
    member = Member("n1", THREE, 1, 1, 1)
    now = member.lead("n2")
    member.acked("n3", 1, 5, now)
    member.consensus.propose(CANCEL, now, WALL)
    member.out.take()
    asked = []
    for _ in range(3):
        member.acked("n3", 1, 3, now, ok=False)
        asked.append([node for node, _ in member.sent(Append)])
    assert asked == [[], [], []]
    member.tick(now + TIMING.heartbeat_s)
    assert "n3" in [node for node, _ in member.sent(Append)]


@pytest.mark.parametrize(("rivals", "heir"), [({"n2": 10, "n3": 200}, "n3"), ({"n2": 10}, "n2"), ({}, "n2")])
def test_a_leader_whose_disk_hangs_hands_over_to_the_best_that_lives(rivals: dict[str, int], heir: str) -> None:
    """Its own answer is all that is missing: nothing but an election by the others can help."""
    member = Member(company=Company(rivals))
    now = member.lead("n2")
    member.consensus.propose(CANCEL, now, WALL)
    for node in ("n2", "n3"):
        member.acked(node, 1, 3, now)
    assert (member.consensus.commit, member.consensus.durable) == (3, 2)
    member.out.take()
    late = now + TIMING.election_s
    member.tick(late - 0.001)
    assert member.consensus.role == LEADER
    assert member.consensus.next_deadline() <= late
    member.out.take()
    member.tick(late)
    assert (member.consensus.role, member.consensus.leader) == (FOLLOWER, "")
    assert member.sent(TimeoutNow) == [(heir, TimeoutNow(2, 3))]
    member.tick(late + TIMING.election_s)
    member.grant(PRE, "n2", "n3", now=late + TIMING.election_s)
    member.grant(VOTE, "n2", "n3", now=late + TIMING.election_s)
    assert member.consensus.role != LEADER  # Its own vote is not on that disk.
    assert member.sent(Election) == []


def test_a_leader_whose_disk_writes_slowly_or_is_needed_stays() -> None:
    slow = Member()
    now = began = slow.lead("n2")
    for index in range(3, 8):
        slow.consensus.propose(CANCEL, now, WALL)
        written = slow.out.save_number
        slow.consensus.propose(CANCEL, now, WALL)
        now += 0.9 * TIMING.election_s
        for node in ("n2", "n3"):
            slow.acked(node, slow.consensus.reign.round if slow.consensus.reign else 0, 2 * index - 2, now)
        slow.tick(now)
        slow.consensus.saved(written, now, WALL)
        assert slow.consensus.commit > slow.consensus.durable
    assert (slow.consensus.role, now - began > 4 * TIMING.election_s) == (LEADER, True)

    needed = Member()
    now = needed.lead("n2")
    needed.consensus.propose(CANCEL, now, WALL)
    needed.acked("n2", 1, 3, now)
    needed.tick(now + 1.9 * TIMING.election_s)
    assert needed.consensus.role == LEADER


def test_rounds_of_renewals_do_not_put_off_the_look_at_its_quorum() -> None:
    member = Member()
    now = member.lead("n2")
    while member.consensus.role == LEADER:
        assert now < 30.0
        member.consensus.confirm("tag", now)
        if member.consensus.next_deadline() <= now:
            member.tick(now)
        now += TIMING.heartbeat_s / 2
    assert now > 2 * TIMING.election_s


def test_a_leader_whom_no_quorum_answers_steps_down_and_falls_silent() -> None:
    member = Member()
    now = member.lead("n2")
    member.tick(now + 2 * TIMING.election_s)
    assert member.consensus.role == LEADER
    member.out.take()
    later = now + 2 * TIMING.election_s + 0.01
    member.tick(later)
    assert (member.consensus.role, member.consensus.leader, member.consensus.term) == (FOLLOWER, "", 2)
    assert member.sent(Append) == []
    assert member.consensus.next_deadline() == later + TIMING.election_s


def test_what_counts_is_when_the_answered_round_began() -> None:
    member = Member()
    now = member.lead("n2")
    late = now + 2 * TIMING.election_s
    member.acked("n2", 1, 2, late)  # an answer to the first round, at last
    member.tick(late + 0.01)
    assert member.consensus.role == FOLLOWER


def test_a_request_is_confirmed_by_a_round_of_its_own() -> None:
    member = Member()
    now = member.lead("n2")
    assert member.consensus.confirm("tag", now)
    assert [a.round for _, a in member.sent(Append)][-2:] == [2, 2]
    member.acked("n2", 1, 2, now)
    assert member.consensus.confirmations == []
    member.acked("n3", 2, 2, now)
    assert member.consensus.confirmations == ["tag"]


def test_it_says_how_long_ago_a_quorum_confirmed_it_in_one_message_for_all() -> None:
    member = Member()
    now = member.lead("n2")
    member.sent(Append)
    member.acked("n2", 1, 2, now + 0.3)
    member.out.take()
    member.consensus.begin_round(now + 0.4)
    (_, second), (_, third) = member.sent(Append)
    assert second.confirmed_s == 0.4
    assert third is second
    member.acked("n3", 2, 2, now + 0.5)
    member.out.take()
    member.consensus.begin_round(now + 1.0)
    assert {append.confirmed_s for _, append in member.sent(Append)} == {0.6}


def test_requests_to_confirm_have_a_limit() -> None:
    member = Member()
    now = member.lead("n2")
    for number in range(CONFIRMATIONS_MAX):
        assert member.consensus.confirm(number, now)
        member.out.take()
    assert not member.consensus.confirm("one too many", now)
    assert member.out.take() == []


def test_only_a_leader_can_be_confirmed() -> None:
    with pytest.raises(InvariantViolation, match="not leading term 1"):
        Member().consensus.confirm("tag", 0.0)


def without(*gone: str) -> ChangeVoters:
    voters = tuple(Voter(node, store(node)) for node in FIVE if node not in gone)
    return ChangeVoters(voters, "removed", gone[0], store(gone[0]))


def test_voters_change_one_at_a_time_and_only_in_charge() -> None:
    member = Member("n1", FIVE)
    member.consensus.append("n2", replace(BEAT, commit=1), 0.1)
    member.save(0.1)
    now = member.lead("n2", "n3")
    assert member.consensus.propose(without("n5"), now, WALL) is None, "what is committed is not known yet"
    for node in ("n2", "n3"):
        member.acked(node, 1, 2, now)
    assert member.consensus.propose(without("n4", "n5"), now, WALL) is None, "two at once"
    assert member.consensus.propose(without("n5"), now, WALL) == 3
    assert member.consensus.propose(without("n5", "n4"), now, WALL) is None, "the one before is not committed"
    for node in ("n2", "n3", "n4"):
        member.acked(node, 2, 3, now)
    assert member.consensus.propose(without("n5", "n4"), now, WALL) == 4


@pytest.mark.parametrize(("index", "disk"), [(2, "disk-n2"), (3, "wiped")])
def test_who_led_until_its_removal_was_committed_passes_on_to_a_voter_that_has_it(index: int, disk: str) -> None:
    member = Member("n1", FIVE)
    now = member.lead("n2", "n3")
    for node in ("n2", "n3", "n4"):
        member.acked(node, 1, 2, now)
    assert member.consensus.propose(without("n1"), now, WALL) == 3
    member.acked("n2", 2, index, now, store=disk)
    for node in ("n4", "n5"):
        member.acked(node, 2, 3, now)
    assert (member.consensus.role, member.sent(TimeoutNow)) == (LEADER, [])
    member.acked("n3", 2, 3, now)
    assert (member.consensus.role, member.consensus.commit) == (FOLLOWER, 3)
    assert member.sent(TimeoutNow) == [("n3", TimeoutNow(2, 3))], "not n2"


# -- handing over --------------------------------------------------------------------------------------------------


def settled() -> tuple[Member, float]:
    """n1 leads term 2; n2 holds the whole log, n3 has not been heard."""
    member = Member()
    now = member.lead("n2")
    member.acked("n2", 1, 2, now)
    member.out.take()
    return member, now


def test_leadership_is_handed_to_a_voter_that_holds_the_whole_log() -> None:
    member, now = settled()
    assert member.consensus.transfer("n2", now)
    assert member.sent(TimeoutNow) == [("n2", TimeoutNow(2, 2))]
    assert member.consensus.propose(CANCEL, now, WALL) is None  # what it would not have
    assert not member.consensus.transfer("n2", now)  # once


@pytest.mark.parametrize("target", ["n1", "n3", "n9"])
def test_nobody_else_gets_it(target: str) -> None:
    member, now = settled()
    assert not member.consensus.transfer(target, now)
    assert member.out.take() == []


def test_not_while_the_target_or_our_own_disk_is_behind() -> None:
    member, now = settled()
    member.consensus.propose(CANCEL, now, WALL)
    assert not member.consensus.transfer("n2", now)
    member.acked("n2", 1, 3, now)
    assert not member.consensus.transfer("n2", now)
    member.save(now)
    assert member.consensus.transfer("n2", now)


def test_a_wiped_voter_does_not_get_it() -> None:
    member, now = settled()
    member.acked("n2", 1, 2, now, store="wiped")
    assert not member.consensus.transfer("n2", now)


def test_who_does_not_lead_hands_over_nothing() -> None:
    assert not Member().consensus.transfer("n2", 0.0)


def test_a_transfer_that_takes_too_long_is_given_up_with_an_entry_that_makes_it_stale() -> None:
    member, now = settled()
    member.consensus.transfer("n2", now)
    later = now + TIMING.election_s
    member.acked("n2", 1, 2, later)
    member.tick(later)
    assert member.consensus.log.last_index == 2
    member.tick(later + 0.01)
    assert member.consensus.log.entry(3) == Entry(3, 2, WALL, NoOp(cause="transfer to n2 given up"))
    assert member.consensus.propose(CANCEL, later, WALL) == 4


# -- leadership handed to us, time lost ----------------------------------------------------------------------------


def follower() -> Member:
    """n1 follows n2 in term 1."""
    member = Member()
    member.consensus.append("n2", BEAT, 1.0)
    member.save(1.0)
    return member


def test_told_to_lead_it_asks_first_whether_it_could() -> None:
    member = follower()
    member.consensus.timeout_now("n2", TimeoutNow(1, 1), 1.1, WALL)
    effects = member.out.take()
    assert [ask.stage for _, ask in sent(Election, effects)] == [PROBE, PROBE]
    assert (saves(effects), member.consensus.term) == ([], 1)
    member.grant(PROBE, "n3", now=1.2)
    assert [ask for _, ask in sent(Election, member.save(1.2))] == [Election(2, TRANSFER, 1, 1, 100)] * 2
    member.grant(TRANSFER, "n3", now=1.2)
    assert member.consensus.role == LEADER


@pytest.mark.parametrize(
    ("leader", "order"),
    [("n3", TimeoutNow(1, 1)), ("n2", TimeoutNow(2, 1)), ("n2", TimeoutNow(0, 1)), ("n2", TimeoutNow(1, 2)),
     ("n2", TimeoutNow(1, 0))],
    ids=["not our leader", "later term", "earlier term", "we are behind", "given up meanwhile"],
)  # fmt: skip
def test_an_order_that_is_not_for_us_now_is_ignored(leader: str, order: TimeoutNow) -> None:
    member = follower()
    member.consensus.timeout_now(leader, order, 1.1, WALL)
    assert (member.out.take(), member.consensus.role) == ([], FOLLOWER)


def test_a_heartbeat_meanwhile_ends_no_probe_and_a_new_entry_does() -> None:
    """The leader lives and speaks on; but once it has written on it has given the transfer up."""
    for message, goes_on in [(BEAT, True), (replace(BEAT, entries=entries(1, first=2)), False)]:
        member = follower()
        member.consensus.timeout_now("n2", TimeoutNow(1, 1), 1.1, WALL)
        member.consensus.append("n2", message, 1.15)
        member.save(1.15)
        assert (member.consensus.role, member.consensus.leader) == (FOLLOWER, "n2")
        member.grant(PROBE, "n3", now=1.2)
        assert ([ask.stage for _, ask in sent(Election, member.save(1.2))] == [TRANSFER] * 2) is goes_on
        assert member.consensus.term == (2 if goes_on else 1)


def test_an_observer_is_never_told_to_lead() -> None:
    member = Member("n4")
    member.consensus.append("n2", BEAT, 1.0)
    member.save(1.0)
    member.consensus.timeout_now("n2", TimeoutNow(1, 1), 1.1, WALL)
    assert member.sent(Election) == []


def test_after_standing_still_a_follower_has_no_leader_and_waits_in_full() -> None:
    member = follower()
    member.consensus.thaw(9.0)
    assert (member.consensus.leader, member.consensus.next_deadline()) == ("", 9.0 + TIMING.election_s)
    assert not member.consensus.leader_alive(9.0)


def test_after_standing_still_a_leader_leads_no_more() -> None:
    member = Member()
    now = member.lead("n2")
    member.consensus.thaw(now + 9.0)
    assert (member.consensus.role, member.consensus.leader, member.consensus.reign) == (FOLLOWER, "", None)
    assert "warning" in levels(member.out.take())


# -- the check -----------------------------------------------------------------------------------------------------


def test_a_member_that_is_well_says_nothing() -> None:
    for member in (Member(), Member(log=(), term=0), settled()[0]):
        member.consensus.check()


def test_a_term_behind_the_log_is_noticed() -> None:
    with pytest.raises(InvariantViolation, match="the log ends in term 3, ahead of term 2"):
        Member(log=log_of(THREE, 3), term=2).consensus.check()


def test_a_commit_behind_the_end_of_the_log_is_noticed() -> None:
    member = Member()
    member.consensus.commit = 2
    with pytest.raises(InvariantViolation, match="commit 2"):
        member.consensus.check()


@pytest.mark.parametrize("leads", [True, False])
def test_a_role_without_its_reign_is_noticed(leads: bool) -> None:
    member = settled()[0] if leads else Member()
    member.consensus.role = FOLLOWER if leads else LEADER
    with pytest.raises(InvariantViolation, match="a reign"):
        member.consensus.check()
