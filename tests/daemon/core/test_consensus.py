"""The log between members: what a follower takes and acknowledges, what a leader commits, rounds, and handing over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mltb_transport.messages import Append, AppendAnswer, CancelFailback
from mltbd.core.leadership import PEERS_MAX
from mltbd.core.log import BATCH_ENTRIES_MAX, InvariantViolation
from mltbd.core.voting import FOLLOWER
from tests.daemon.core.core_kit import (
    FIVE,
    THREE,
    TIMING,
    WALL,
    Company,
    Member,
    entries,
    founding,
    saves,
    sent,
)

CANCEL = CancelFailback("main")


def append(member: Member, *terms: int, prev: tuple[int, int], term: int = 2, now: float = 1.0, **more: Any) -> None:
    """The leader n2 sends entries of these terms, which follow `prev` = (index, term)."""
    message = Append(term, 1, prev[0], prev[1], 0, ("n1", "n2"), entries(*terms, first=prev[0] + 1))
    member.consensus.append("n2", replace(message, **more), now)


def answered(member: Member, now: float = 1.0) -> list[tuple[int, bool, int]]:
    """What the leader is told once all is saved: term, whether it matches, index."""
    return [(answer.term, answer.ok, answer.index) for _, answer in sent(AppendAnswer, member.save(now))]


def appended(member: Member) -> list[tuple[str, int, int, int]]:
    """Who is sent what: behind which index, how many entries, which commit."""
    return [(node, a.prev_index, len(a.entries), a.commit) for node, a in member.sent(Append)]


# -- a follower ----------------------------------------------------------------------------------------------------


def test_entries_are_on_disk_before_they_are_acknowledged() -> None:
    member = Member()
    append(member, 2, 2, prev=(1, 1))
    effects = member.out.take()
    assert [(save.term, save.entries) for save in saves(effects)] == [(2, entries(2, 2, first=2))]
    assert sent(AppendAnswer, effects) == []
    assert (member.consensus.durable, member.consensus.log.last_index) == (1, 3)
    assert sent(AppendAnswer, member.save()) == [("n2", AppendAnswer(2, 1, True, 3, "disk-n1", ("main",)))]
    assert member.consensus.durable == 3


def test_a_round_is_acknowledged_however_slow_the_disk_is_but_nothing_that_is_not_on_it() -> None:
    member = Member("n1", THREE, 2)
    append(member, 2, 2, prev=(2, 2))
    append(member, prev=(4, 2), round=2)
    assert [answer.index for _, answer in member.sent(AppendAnswer)] == [2]
    assert [answer.index for _, answer in sent(AppendAnswer, member.save())] == [4, 4]
    append(member, prev=(4, 2), round=3)
    assert [answer.index for _, answer in member.sent(AppendAnswer)] == [4], "once, where nothing is left to be said"


def test_no_round_is_acknowledged_in_a_term_that_is_not_on_disk() -> None:
    member = Member()
    append(member, prev=(1, 1))
    assert member.sent(AppendAnswer) == []
    append(member, prev=(1, 1), round=2)
    assert member.sent(AppendAnswer) == []
    assert answered(member) == [(2, True, 1), (2, True, 1)]


def test_a_heartbeat_makes_a_follower() -> None:
    member = Member()
    append(member, prev=(1, 1), alive=("n2", "n3"))
    consensus = member.consensus
    assert (consensus.role, consensus.leader, consensus.term, consensus.alive) == (FOLLOWER, "n2", 2, ("n2", "n3"))
    assert (consensus.heard_at, consensus.acked_at) == (1.0, 1.0)
    assert consensus.leader_alive(1.0 + TIMING.election_s - 0.01)
    assert not consensus.leader_alive(1.0 + TIMING.election_s)


def test_a_candidate_that_hears_the_winner_of_its_term_follows_it() -> None:
    member = Member()
    now = member.stand()
    member.grant("pre", "n2", now=now)
    assert member.consensus.term == 2
    append(member, prev=(1, 1), now=now)
    assert (member.consensus.role, member.consensus.leader, member.consensus.vote) == (FOLLOWER, "n2", "n1")


def test_a_leader_of_an_earlier_term_is_told_ours() -> None:
    member = Member(term=5)
    append(member, 2, prev=(1, 1))
    assert answered(member) == [(5, False, 0)]
    assert (member.consensus.leader, member.consensus.acked_at, member.consensus.log.last_index) == ("", None, 1)


def test_two_leaders_of_one_term_cannot_be() -> None:
    member = Member()
    member.lead("n2")
    with pytest.raises(InvariantViolation, match="n2 leads term 2 as well"):
        append(member, prev=(1, 1))


@pytest.mark.parametrize(
    ("prev", "hint"),
    [
        ((9, 2), 5),  # we are behind: from our end on
        ((4, 3), 2),  # another history: from what is committed on
        ((3, 7), 2),
    ],
)
def test_a_log_that_does_not_match_is_refused_with_where_to_try(prev: tuple[int, int], hint: int) -> None:
    member = Member("n1", THREE, 1, 1, 1)
    append(member, prev=(1, 1), commit=1)
    answered(member)
    append(member, 2, prev=prev)
    assert answered(member) == [(2, False, hint)]
    assert member.consensus.log.last_index == 4


def test_what_is_repeated_is_acknowledged_and_not_saved_again() -> None:
    member = Member("n1", THREE, 2, 2)
    append(member, 2, 2, prev=(1, 1))
    effects = member.out.take()
    assert saves(effects) == []
    assert [answer.index for _, answer in sent(AppendAnswer, effects)] == [3]


def test_a_conflicting_tail_is_cut_and_no_longer_durable() -> None:
    member = Member("n1", THREE, 1, 1, 1)
    append(member, 2, prev=(2, 1))
    assert [save.entries for save in saves(member.out.take())] == [entries(2, first=3)]
    assert (member.consensus.log.last_index, member.consensus.durable) == (3, 2)
    assert answered(member) == [(2, True, 3)]
    assert member.consensus.durable == 3


def test_a_save_of_what_was_cut_meanwhile_makes_nothing_durable() -> None:
    member = Member()
    append(member, 2, 2, prev=(1, 1))  # save 2: the term, and entries 2 and 3
    append(member, 3, prev=(1, 1), term=3)  # save 4
    member.consensus.saved(2, 1.0, WALL)
    assert member.consensus.durable == 1
    member.consensus.saved(4, 1.0, WALL)
    assert member.consensus.durable == 2


@pytest.mark.parametrize(("commit", "expected"), [(0, 0), (2, 2), (3, 3), (99, 3)])
def test_commit_is_taken_over_as_far_as_the_log_is_known_to_match(commit: int, expected: int) -> None:
    member = Member("n1", THREE, 1, 1, 1, 1)
    append(member, 1, prev=(2, 1), commit=commit)  # says something of entries up to 3 only
    assert member.consensus.commit == expected


def test_commit_never_goes_back() -> None:
    member = Member("n1", THREE, 1, 1)
    append(member, prev=(3, 1), commit=3)
    append(member, prev=(3, 1), commit=1)
    assert member.consensus.commit == 3


def test_a_leader_that_would_cut_what_is_committed_is_a_bug() -> None:
    member = Member("n1", THREE, 1, 1)
    append(member, prev=(3, 1), commit=3)
    with pytest.raises(InvariantViolation, match="committed entry 2"):
        append(member, 2, prev=(1, 1))


def test_the_founding_is_taken_over_on_an_empty_disk() -> None:
    member = Member(log=(), term=0)
    member.consensus.found(founding(*THREE))
    assert [(save.term, save.entries) for save in saves(member.out.take())] == [(1, (founding(*THREE),))]
    assert (member.consensus.is_voter, member.consensus.durable) == (True, 0)
    member.save()
    assert member.consensus.durable == 1


# -- a leader ------------------------------------------------------------------------------------------------------


def test_an_entry_is_committed_when_a_quorum_has_it_on_disk() -> None:
    member = Member("n1", FIVE)
    now = member.lead("n2", "n3")
    assert (member.consensus.commit, member.consensus.in_charge) == (0, False)
    member.acked("n2", 1, 2, now)
    assert not member.consensus.in_charge
    member.out.take()
    member.acked("n4", 1, 2, now)
    assert (member.consensus.commit, member.consensus.in_charge) == (2, True)
    assert {(node, commit) for node, _, _, commit in appended(member)} >= {("n2", 2), ("n3", 2), ("n4", 2), ("n5", 2)}


def test_the_leaders_own_disk_counts_like_any_other() -> None:
    member = Member()
    now = member.lead("n2")
    member.acked("n2", 1, 2, now)
    assert member.consensus.propose(CANCEL, now, WALL) == 3
    member.consensus.saved(0, now, WALL)
    assert member.consensus.commit == 2
    member.acked("n2", 1, 3, now)
    assert member.consensus.commit == 2
    member.save(now)
    assert member.consensus.commit == 3


def test_entries_of_earlier_terms_are_committed_only_by_one_of_our_own() -> None:
    """Raft, figure 8: a quorum may hold an old entry and still lose it."""
    member = Member("n1", THREE, 1, 1)
    now = member.lead("n2")
    member.acked("n2", 1, 3, now)
    assert member.consensus.commit == 0
    member.acked("n2", 1, 4, now)
    assert member.consensus.commit == 4


@pytest.mark.parametrize(
    ("node", "changes"),
    [("n2", {"store": "wiped"}), ("n2", {"term": 1}), ("n9", {})],
    ids=["wiped disk", "of an earlier reign", "stranger"],
)
def test_answers_that_do_not_count(node: str, changes: dict[str, Any]) -> None:
    member = Member()
    now = member.lead("n2")
    member.acked(node, 1, 2, now, **changes)
    assert member.consensus.commit == 0


def test_an_answer_of_a_newer_term_ends_the_reign() -> None:
    member = Member()
    now = member.lead("n2")
    member.acked("n3", 1, 0, now, ok=False, term=9)
    assert (member.consensus.role, member.consensus.term, member.consensus.reign) == (FOLLOWER, 9, None)


def test_an_answer_to_who_leads_no_more_is_late() -> None:
    member = Member()
    member.acked("n2", 1, 2, 1.0)
    assert (member.out.take(), member.consensus.commit) == ([], 0)


def test_a_follower_behind_is_sent_what_it_lacks() -> None:
    member = Member("n1", THREE, 1, 1)
    now = member.lead("n2")
    member.out.take()
    member.acked("n3", 1, 2, now, ok=False)
    assert appended(member) == [("n3", 1, 3, 0)]


def test_a_long_log_is_sent_in_batches_each_after_the_last_was_heard() -> None:
    member = Member("n1", THREE, *[1] * (2 * BATCH_ENTRIES_MAX))
    now = member.lead("n2")
    last = member.consensus.log.last_index
    member.out.take()
    member.acked("n3", 1, 1, now, ok=False)
    assert appended(member) == [("n3", 0, BATCH_ENTRIES_MAX, 0)]
    member.acked("n3", 1, BATCH_ENTRIES_MAX, now)
    assert appended(member) == [("n3", BATCH_ENTRIES_MAX, BATCH_ENTRIES_MAX, 0)]
    member.acked("n3", 1, 2 * BATCH_ENTRIES_MAX, now)
    assert appended(member) == [("n3", 2 * BATCH_ENTRIES_MAX, last - 2 * BATCH_ENTRIES_MAX, 0)]
    member.acked("n3", 1, last, now)
    assert member.consensus.commit == last


def test_a_lonely_leader_commits_what_is_on_its_disk() -> None:
    member = Member("n1", ("n1",))
    now = member.stand()
    member.save(now)
    assert member.consensus.commit == 0
    member.save(now)
    assert member.consensus.commit == 2


def test_who_does_not_lead_proposes_nothing() -> None:
    member = Member()
    assert member.consensus.propose(CANCEL, 0.0, WALL) is None
    assert (member.out.take(), member.consensus.log.last_index) == ([], 1)


def test_learners_are_sent_the_log_as_well_and_their_number_has_a_limit() -> None:
    pupils = tuple(f"o{number:03}" for number in range(PEERS_MAX + 10))
    member = Member("n1", THREE, company=Company(learners=pupils))
    now = member.lead("n2")
    member.tick(now + TIMING.heartbeat_s)
    told = [node for node, _, _, _ in appended(member)]
    assert len(told) == PEERS_MAX
    assert told[:3] == ["n2", "n3", "o000"]
