"""Elections where a write takes long: whose time counts from when, what need not wait, and who waits for whom."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mltb_transport.messages import Answer, Election, Entry, NoOp
from mltbd.core.election import PRE, VOTE
from mltbd.core.voting import FOLLOWER, LEADER, WRITES
from tests.daemon.core.core_kit import FIVE, TIMING, WALL, Member
from tests.daemon.core.test_voting import INF, LATER, SILENT_S, answers, asked, beat, election


def over_at(member: Member) -> float:
    """When the attempt ends: until then whoever has not said yes is asked again, as often as `election_s` goes by."""
    while True:
        now = member.consensus.next_deadline()
        member.tick(now)
        if {ask.stage for _, ask in member.sent(Election)} != {VOTE}:
            return now


def test_a_long_attempt_asks_again_whoever_has_not_said_yes() -> None:
    member = Member("n1", FIVE)
    now = member.stand()
    member.grant(PRE, "n2", "n3", now=now)
    member.save(now + 2.0)
    member.sent(Election)
    member.grant(VOTE, "n2", now=now + 2.0)
    member.tick(now + 2.0 + SILENT_S - 0.001)
    assert member.sent(Election) == []
    for times in (1, 2):
        assert member.consensus.next_deadline() == pytest.approx(now + 2.0 + times * SILENT_S)
        member.tick(member.consensus.next_deadline())
        assert [(to, ask.term, ask.stage) for to, ask in member.sent(Election)] == [
            (voter, 2, VOTE) for voter in ("n3", "n4", "n5")
        ]
    member.grant(VOTE, "n5", now=now + 3.0)
    assert member.consensus.role == LEADER


def test_who_knows_more_does_not_wait_for_who_asks_for_votes() -> None:
    """It would refuse its own, and without it there may be no majority."""
    member = Member()
    now = member.stand()
    member.grant(PRE, "n2", now=now)
    member.save(now)
    asked(member, "n3", replace(election(3), last_index=99), now)
    assert member.sent(Answer) == [("n3", Answer(3, PRE, True, 0.0, "disk-n1"))]


def test_the_time_of_an_attempt_begins_when_others_hear_of_it() -> None:
    member = Member()
    now = member.stand()
    member.grant(PRE, "n2", now=now)
    assert member.consensus.next_deadline() == INF
    member.save(now + 0.01)
    assert member.consensus.next_deadline() == pytest.approx(now + 0.01 + SILENT_S / 2)


def test_an_attempt_has_time_for_writes_like_our_own() -> None:
    member = Member()
    now = member.stand()
    member.grant(PRE, "n2", now=now)
    member.save(now + 2.0)
    assert over_at(member) == pytest.approx(now + 2.0 + WRITES * 2.0 / 2)


def test_each_attempt_in_vain_is_given_twice_the_time_until_a_leader_speaks() -> None:
    member = Member()
    now, lasted = member.stand(), []
    for _ in range(6):
        member.grant(PRE, "n2", now=now)
        member.save(now)
        began, now = now, over_at(member)
        lasted.append(now - began)
    expected = [min(SILENT_S * 2**tries, TIMING.election_max_s) / 2 for tries in range(6)]
    assert lasted == pytest.approx(expected)
    member.consensus.append("n2", beat(member.consensus.term), now)
    member.save(now)
    now = member.stand()
    member.grant(PRE, "n2", now=now)
    member.save(now)
    assert member.consensus.next_deadline() == pytest.approx(now + SILENT_S / 2)


@pytest.mark.parametrize("stands", [False, True], ids=["a follower", "one that asks for pre-votes"])
def test_who_gave_its_vote_waits_from_when_it_is_heard(stands: bool) -> None:
    member = Member(term=2)
    now = member.stand() if stands else LATER
    asked(member, "n2", election(2, VOTE), now)
    assert (member.consensus.role, member.consensus.next_deadline()) == (FOLLOWER, INF)
    member.save(now + 3.0)
    assert member.consensus.next_deadline() == now + 3.0 + SILENT_S


def test_who_waits_for_its_disk_is_not_roused_by_a_lower_rank() -> None:
    member = Member(priority=200)
    asked(member, "n2", election(stage=VOTE))
    asked(member, "n3", election(3))
    assert (member.consensus.role, member.sent(Election)) == (FOLLOWER, [])


def test_who_gives_its_vote_away_asks_for_none_itself() -> None:
    member = Member(term=2)
    now = member.stand()
    asked(member, "n2", election(2, VOTE), now)
    member.save(now)
    member.grant(PRE, "n3", now=now)
    assert (member.consensus.term, member.consensus.vote) == (2, "n2")


def test_a_pre_vote_waits_for_no_entries() -> None:
    member = Member(priority=1)
    member.consensus.append("n2", beat(entries=(Entry(2, 1, WALL, NoOp("n2")),)), 0.0)
    asked(member, "n3", election(last_index=99))
    assert member.sent(Answer) == [("n3", Answer(2, PRE, True, LATER, "disk-n1"))]


def test_who_writes_its_vote_lets_nobody_go_past_it() -> None:
    """What comes after this vote would have to wait for it, and who gets it may win."""
    member = Member(priority=1)
    asked(member, "n2", election(stage=VOTE))
    asked(member, "n2", election(3))
    asked(member, "n3", election(3))
    assert member.sent(Answer) == []
    assert answers(member) == [("n2", Answer(2, VOTE, True, 0.0, "disk-n1"))]
    asked(member, "n2", election(3), LATER + SILENT_S)
    assert [answer.granted for _, answer in member.sent(Answer)] == [True]


def test_a_slow_yes_counts_in_all_of_its_term() -> None:
    """Also while pre-votes for the next term are asked for: nobody else can lead this one."""
    member = Member()
    now = member.stand()
    member.grant(PRE, "n2", now=now)
    member.save(now)
    now = over_at(member)
    member.tick(member.consensus.next_deadline())
    assert {(ask.term, ask.stage) for _, ask in member.sent(Election)} == {(3, PRE)}
    member.grant(VOTE, "n3", now=now)
    assert (member.consensus.role, member.consensus.term) == (LEADER, 2)


def test_but_not_in_the_next_term_nor_under_its_leader() -> None:
    for later in (3, 2):
        member = Member()
        now = member.stand()
        member.grant(PRE, "n2", now=now)
        member.save(now)
        member.consensus.append("n2", beat(later), now)
        member.save(now)
        member.consensus.answered("n3", Answer(2, VOTE, True, 0.0, "disk-n3"), now, 0)
        assert (member.consensus.role, member.consensus.leader) == (FOLLOWER, "n2")


def test_an_attempt_that_cannot_be_won_any_more_is_over() -> None:
    member = Member("n1", FIVE)
    now = member.stand()
    member.grant(PRE, "n2", "n3", now=now)
    for voter in ("n2", "n3"):
        member.consensus.answered(voter, Answer(2, VOTE, False, 0.0, f"disk-{voter}"), now, 0)
    member.save(now)
    assert member.consensus.next_deadline() > now, "the others and we are a quorum"
    member.consensus.answered("n4", Answer(2, VOTE, False, 0.0, "disk-n4"), now, 0)
    assert member.consensus.next_deadline() < now
    member.sent(Election)
    member.tick(now)
    assert {(ask.term, ask.stage) for _, ask in member.sent(Election)} == {(3, PRE)}


def test_who_asks_for_votes_lets_nobody_overtake_it() -> None:
    member = Member()
    now = member.stand()
    member.grant(PRE, "n2", now=now)
    member.save(now)
    asked(member, "n3", election(3), now)
    assert member.sent(Answer) == [("n3", Answer(2, PRE, False, 0.0, "disk-n1"))]
    asked(member, "n3", election(3, VOTE), now)
    assert answers(member, now) == [("n3", Answer(3, VOTE, True, 0.0, "disk-n1"))], "who won its pre-votes may"
