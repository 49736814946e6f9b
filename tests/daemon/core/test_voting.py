"""One member between elections: when it stands, whom it elects, and what must be on its disk before it says so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mltb_transport.messages import Answer, Append, Election, NoOp
from mltbd.core.election import PRE, PROBE, TRANSFER, VOTE
from mltbd.core.voting import CANDIDATE, FOLLOWER, LEADER
from tests.daemon.core.core_kit import FIVE, THREE, TIMING, WALL, Company, Member, log_of, saves, sent

INF = float("inf")
SILENT_S = TIMING.election_s
STEP_S = TIMING.step_s
LATER = SILENT_S + 1.0


def election(term: int = 2, stage: str = PRE, **changes: Any) -> Election:
    """From a candidate whose log is as long as ours: the founding alone."""
    return replace(Election(term, stage, 1, 1, 100), **changes)


def beat(term: int = 1, **changes: Any) -> Append:
    """A heartbeat of a leader."""
    return replace(Append(term, 1, 1, 1, 0, ("n2",), ()), **changes)


def asked(member: Member, candidate: str, ask: Election, now: float = LATER) -> None:
    member.consensus.asked(candidate, ask, now, WALL)


def answers(member: Member, now: float = LATER) -> list[tuple[str, Answer]]:
    return sent(Answer, member.save(now))


def opened(member: Member) -> NoOp:
    """The first entry of its reign, behind the founding."""
    command = member.consensus.log.entry(2).command
    assert isinstance(command, NoOp)
    return command


# -- standing ------------------------------------------------------------------------------------------------------


def test_a_voter_stands_when_its_leader_is_silent_and_asks_before_it_disturbs() -> None:
    member = Member()
    assert member.consensus.next_deadline() == SILENT_S
    member.tick(SILENT_S - 0.001)
    assert member.out.take() == []
    member.tick(SILENT_S)
    effects = member.out.take()
    assert sent(Election, effects) == [("n2", election()), ("n3", election())]
    assert (saves(effects), member.consensus.term, member.consensus.role) == ([], 1, CANDIDATE)


@pytest.mark.parametrize(
    ("rivals", "share", "delay_s"),
    [
        ({}, 0.0, 0.0),
        ({}, 1.0, STEP_S / 2),
        ({"n1": 100, "n2": 99}, 0.0, STEP_S),  # n1 comes first by its id
        ({"n1": 101, "n2": 101}, 0.0, 2 * STEP_S),
        ({"n1": 101, "n2": 101}, 1.0, 2.5 * STEP_S),
        ({"n8": 999, "n9": 999}, 0.0, 0.0),  # who is no voter cannot lead
    ],
)
def test_each_waits_for_its_rank(rivals: dict[str, int], share: float, delay_s: float) -> None:
    member = Member("n3", share=share, company=Company(rivals))
    assert member.stand() == pytest.approx(SILENT_S + delay_s)


def test_the_wait_has_a_limit() -> None:
    many = [f"n{number}" for number in range(1, 40)]
    member = Member("n39", many, company=Company(dict.fromkeys(many[:-1], 200)))
    assert member.stand() == pytest.approx(SILENT_S + TIMING.lease_s)


@pytest.mark.parametrize(("node", "disk"), [("n4", "disk-n4"), ("n1", "wiped")])
def test_who_is_no_voter_never_stands(node: str, disk: str) -> None:
    member = Member(node, disk=disk)
    assert not member.consensus.is_voter
    assert member.consensus.next_deadline() == INF
    member.tick(1e6)
    assert (member.out.take(), member.consensus.role) == ([], FOLLOWER)


def test_a_heartbeat_puts_it_off() -> None:
    member = Member()
    member.consensus.append("n2", beat(), 0.5)
    assert member.consensus.next_deadline() == 0.5 + SILENT_S


def test_a_broken_connection_to_the_leader_is_not_waited_out() -> None:
    member = Member()
    member.consensus.append("n2", beat(), 1.0)
    member.save(1.0)
    member.consensus.doubt("n3", 1.1)
    assert (member.consensus.leader, member.consensus.next_deadline()) == ("n2", 1.0 + SILENT_S), "it leads nobody"
    member.consensus.doubt("n2", 1.1)
    assert member.consensus.leader == ""
    assert member.consensus.next_deadline() == pytest.approx(1.1)
    member.consensus.doubt("n2", 1.2)
    assert member.lead("n3") == pytest.approx(1.1)
    assert opened(member).cause == "broken"


def test_a_leader_that_is_heard_again_is_doubted_no_more() -> None:
    member = Member()
    member.consensus.append("n2", beat(), 1.0)
    member.consensus.doubt("n2", 1.1)
    member.consensus.append("n2", beat(), 1.2)
    member.save(1.2)
    assert member.lead("n3") == 1.2 + SILENT_S
    assert opened(member).cause == "silence"


def test_the_vote_follows_the_pre_vote_and_leaves_when_it_is_durable() -> None:
    member = Member()
    now = member.stand()
    member.out.take()
    member.grant(PRE, "n2", now=now)
    effects = member.out.take()
    assert [(save.term, save.vote) for save in saves(effects)] == [(2, "n1")]
    assert sent(Election, effects) == []
    assert sent(Election, member.save(now)) == [("n2", election(2, VOTE)), ("n3", election(2, VOTE))]


def test_our_own_vote_counts_when_it_is_durable() -> None:
    member = Member()
    now = member.stand()
    member.grant(PRE, "n2", now=now)
    member.grant(VOTE, "n3", now=now)
    assert member.consensus.role == CANDIDATE
    member.save(now)
    assert (member.consensus.role, member.consensus.leader, member.consensus.term) == (LEADER, "n1", 2)


def test_others_may_elect_us_while_our_own_disk_is_slow_but_we_wait_for_it() -> None:
    member = Member("n1", FIVE)
    now = member.stand()
    member.grant(PRE, "n2", "n3", now=now)
    member.grant(VOTE, "n2", "n3", "n4", "n5", now=now)
    assert member.consensus.role == CANDIDATE
    member.save(now)
    assert member.consensus.role == LEADER


def test_a_lonely_voter_elects_itself() -> None:
    member = Member("n1", ("n1",))
    now = member.stand()
    assert (member.consensus.term, member.consensus.role) == (2, CANDIDATE)
    member.save(now)
    assert member.consensus.role == LEADER


def test_the_winner_opens_its_term_with_an_entry_of_its_own() -> None:
    member = Member()
    now = member.stand()
    member.grant(PRE, "n2", now=now)
    member.save(now)
    member.grant(VOTE, "n2", now=now, age=0.25)
    reign = member.consensus.reign
    assert reign is not None
    assert (reign.won_at, reign.age_min, reign.first_index) == (now, 0.0, 2)  # our own age is unknown: 0
    assert not member.consensus.in_charge
    assert [(node, a.term, a.prev_index, len(a.entries)) for node, a in member.sent(Append)] == [
        ("n2", 2, 1, 1), ("n3", 2, 1, 1),
    ]  # fmt: skip


def test_a_pre_vote_that_nobody_wins_is_tried_again_in_the_same_term() -> None:
    member = Member()
    now = member.stand()
    member.out.take()
    again = member.consensus.next_deadline()
    assert now + STEP_S <= again <= now + 2 * STEP_S
    member.tick(again)
    assert [ask for _, ask in member.sent(Election)] == [election(), election()]
    assert member.consensus.term == 1


def test_a_vote_that_nobody_wins_begins_anew_behind_its_rank() -> None:
    member = Member("n3", share=0.5, company=Company({"n1": 100}))
    now = member.stand()
    member.grant(PRE, "n2", now=now)
    member.save(now)
    ended = member.consensus.next_deadline()
    assert ended == pytest.approx(now + 0.75 * SILENT_S)
    member.tick(ended)
    assert member.sent(Election) == []
    again = member.consensus.next_deadline()
    assert again == pytest.approx(ended + 1.25 * STEP_S)
    member.tick(again)
    assert [ask.stage for _, ask in member.sent(Election)] == [PRE, PRE]
    assert member.consensus.term == 2


def test_a_refusal_from_a_newer_term_ends_the_attempt() -> None:
    member = Member()
    now = member.stand()
    member.out.take()
    member.consensus.answered("n2", Answer(7, PRE, False, 0.0), now, WALL)
    assert [(save.term, save.vote) for save in saves(member.out.take())] == [(7, "")]
    assert (member.consensus.term, member.consensus.role) == (7, FOLLOWER)


def test_an_answer_nobody_waits_for_changes_nothing() -> None:
    member = Member()
    member.consensus.answered("n2", Answer(2, VOTE, True, 1.0, "disk-n2"), 0.1, WALL)
    assert (member.out.take(), member.consensus.role) == ([], FOLLOWER)


# -- voting --------------------------------------------------------------------------------------------------------


def test_a_vote_is_on_disk_before_it_is_given() -> None:
    member = Member()
    asked(member, "n2", election(stage=VOTE))
    effects = member.out.take()
    assert [(save.term, save.vote) for save in saves(effects)] == [(2, "n2")], "one write"
    assert sent(Answer, effects) == []
    assert answers(member) == [("n2", Answer(2, VOTE, True, 0.0, "disk-n1"))]
    assert member.consensus.heard_at == LATER  # who has just voted does not stand at once


def test_one_vote_a_term_and_the_same_one_again() -> None:
    member = Member()
    asked(member, "n2", election(stage=VOTE))
    answers(member)
    asked(member, "n3", election(stage=VOTE))
    assert answers(member) == [("n3", Answer(2, VOTE, False, 0.0, "disk-n1"))]
    asked(member, "n2", election(stage=VOTE))
    effects = member.out.take()
    assert (saves(effects), sent(Answer, effects)) == ([], [("n2", Answer(2, VOTE, True, 0.0, "disk-n1"))])


def test_a_vote_survives_a_restart() -> None:
    member = Member(term=2, vote="n2")
    asked(member, "n3", election(stage=VOTE))
    assert answers(member) == [("n3", Answer(2, VOTE, False, 0.0, "disk-n1"))]


def test_a_pre_vote_changes_nothing_on_disk() -> None:
    member = Member(priority=1)
    asked(member, "n2", election())
    effects = member.out.take()
    assert (saves(effects), sent(Answer, effects)) == ([], [("n2", Answer(2, PRE, True, 0.0, "disk-n1"))])
    assert member.consensus.term == 1


def test_a_lower_term_is_answered_with_ours() -> None:
    member = Member(term=9)
    asked(member, "n2", election(2, VOTE))
    assert answers(member) == [("n2", Answer(9, VOTE, False, 0.0, "disk-n1"))]


def test_a_candidate_we_do_not_know_as_a_voter_has_our_vote() -> None:
    """It may have been made one in an entry that has not reached us; whoever counts, counts by its own log."""
    member = Member()
    asked(member, "n9", election(8, VOTE))
    assert answers(member) == [("n9", Answer(8, VOTE, True, 0.0, "disk-n1"))]


def test_an_empty_disk_gives_its_vote_and_keeps_to_it() -> None:
    """It may be a voter that the founding never reached. It says which disk it is: a wiped one nobody counts."""
    member = Member(log=())
    asked(member, "n2", election(8, VOTE))
    assert answers(member) == [("n2", Answer(8, VOTE, True, 0.0, "disk-n1"))]
    asked(member, "n3", election(8, VOTE))
    assert answers(member) == [("n3", Answer(8, VOTE, False, 0.0, "disk-n1"))]


def test_a_wiped_voter_gives_no_vote() -> None:
    member = Member(disk="wiped")
    asked(member, "n2", election(stage=VOTE))
    assert [answer.granted for _, answer in answers(member)] == [False]


@pytest.mark.parametrize(
    ("stage", "granted", "term"), [(PRE, False, 1), (VOTE, False, 1), (PROBE, True, 1), (TRANSFER, True, 2)]
)
def test_while_the_leader_lives_only_its_own_order_deposes_it(stage: str, granted: bool, term: int) -> None:
    member = Member()
    member.consensus.append("n3", beat(), 1.0)
    member.save(1.0)
    asked(member, "n2", election(stage=stage), 1.1)
    ((_, answer),) = answers(member)
    assert (answer.granted, member.consensus.term) == (granted, term)


def test_a_leader_steps_down_for_the_node_it_sent_and_for_no_other() -> None:
    member = Member()
    now = member.lead("n2")
    ask = election(3, VOTE, last_index=2, last_term=2)
    asked(member, "n3", ask, now)
    assert member.consensus.role == LEADER
    asked(member, "n3", replace(ask, stage=TRANSFER), now)
    assert (member.consensus.role, member.consensus.vote) == (FOLLOWER, "n3")


def test_the_age_is_the_time_since_we_last_acknowledged_any_leader() -> None:
    member = Member()
    member.consensus.append("n3", beat(), 1.0)
    member.save(1.0)
    asked(member, "n2", election(stage=VOTE), 1.0 + 2 * SILENT_S)
    ((_, answer),) = answers(member)
    assert answer.age == pytest.approx(2 * SILENT_S)


def test_a_leader_has_acknowledged_its_own_rounds() -> None:
    member = Member()
    now = member.lead("n2")
    asked(member, "n3", election(3, TRANSFER, last_index=2, last_term=2), now + 0.1)
    ((_, answer),) = answers(member)
    assert answer.age == pytest.approx(0.1)


# -- the bully -----------------------------------------------------------------------------------------------------


def test_a_higher_ranked_node_answers_by_standing_itself() -> None:
    member = Member("n1", priority=101)
    asked(member, "n2", election())
    effects = member.out.take()
    assert sent(Answer, effects) == [("n2", Answer(2, PRE, True, 0.0, "disk-n1"))]  # and never by a veto
    assert [(node, ask.stage) for node, ask in sent(Election, effects)] == [("n2", PRE), ("n3", PRE)]


def test_a_higher_ranked_candidate_goes_on_with_what_it_began() -> None:
    member = Member()
    now = member.stand()
    member.grant(PRE, "n3", now=now)
    member.save(now)
    asked(member, "n2", election(3), now)
    assert sent(Election, member.save(now)) == []
    member.grant(VOTE, "n3", now=now)
    assert member.consensus.role == LEADER


@pytest.mark.parametrize(
    ("priority", "stage", "now"),
    [
        (99, PRE, LATER),  # ranked behind
        (101, PRE, 0.1),  # its leader lives
        (101, PROBE, LATER),  # nobody is silent: a transfer
    ],
)
def test_else_it_does_not_stand(priority: int, stage: str, now: float) -> None:
    member = Member(priority=priority)
    member.consensus.append("n3", beat(), 0.0)
    asked(member, "n2", election(stage=stage), now)
    assert sent(Election, member.save(now)) == []
    assert member.consensus.role == FOLLOWER


def test_an_observer_bullies_nobody() -> None:
    member = Member("n4", priority=999)
    asked(member, "n2", election())
    assert sent(Election, member.save()) == []


def test_a_lower_ranked_candidate_steps_aside_once_for_each_silence() -> None:
    member = Member("n3", share=0.0)
    now = member.stand()
    asked(member, "n1", election(), now)
    assert member.consensus.role == FOLLOWER
    again = member.consensus.next_deadline()
    assert again == pytest.approx(now + 2 * STEP_S)
    member.tick(again)
    assert member.consensus.role == CANDIDATE
    asked(member, "n1", election(), again)
    assert member.consensus.role == CANDIDATE  # who cannot win blocks nobody for ever
    member.consensus.append("n2", beat(), again)
    member.save(again)
    now = member.stand()
    asked(member, "n1", election(), now)
    assert member.consensus.role == FOLLOWER


def test_a_candidate_does_not_step_aside_for_one_it_refuses() -> None:
    member = Member("n3", THREE, 1, 1)
    now = member.stand()
    asked(member, "n1", election(), now)
    assert member.consensus.role == CANDIDATE


def test_a_log_that_was_founded_elsewhere_names_other_voters() -> None:
    member = Member(log=log_of(("n7", "n8")))
    assert member.consensus.voters == {"n7": "disk-n7", "n8": "disk-n8"}
    assert not member.consensus.is_voter
