"""The rule for a vote, line by line; how one election is counted; the order in which nodes stand."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltb_transport.messages import Answer, Election
from mltbd.core.election import PRE, PROBE, TRANSFER, VOTE, Ballot, Tally, rank, refusal

STAGES = (PROBE, PRE, VOTE, TRANSFER)
MINE = Ballot(term=5, vote="", last_term=4, last_index=10, leader_alive=False, is_wiped=False)
ASKED = Election(term=6, stage=VOTE, last_index=10, last_term=4, priority=100)


def ask(stage: str, **changes: Any) -> Election:
    return replace(ASKED, stage=stage, **changes)


@pytest.mark.parametrize("stage", STAGES)
def test_an_up_to_date_candidate_of_a_newer_term_has_our_vote(stage: str) -> None:
    assert refusal("n2", ask(stage), MINE) == ""


@pytest.mark.parametrize("stage", STAGES)
def test_a_wiped_voter_gives_no_vote(stage: str) -> None:
    assert refusal("n2", ask(stage), replace(MINE, is_wiped=True)) == "my disk is not the voter's"


@pytest.mark.parametrize(
    ("stage", "term", "granted"),
    [
        (PROBE, 4, False), (PRE, 4, False), (VOTE, 4, False), (TRANSFER, 4, False),
        (PROBE, 5, False), (PRE, 5, False),  # "could I lead a term that has begun?" No
        (VOTE, 5, True), (TRANSFER, 5, True),
        (PROBE, 6, True), (PRE, 6, True), (VOTE, 6, True), (TRANSFER, 6, True), (PRE, 99, True),
    ],
)  # fmt: skip
def test_a_term_that_is_over_is_refused(stage: str, term: int, granted: bool) -> None:
    assert refusal("n2", ask(stage, term=term), MINE) == ("" if granted else f"term {term} is over")


@pytest.mark.parametrize(("stage", "granted"), [(PROBE, True), (PRE, False), (VOTE, False), (TRANSFER, True)])
def test_a_living_leader_is_not_deposed_but_by_its_own_order(stage: str, granted: bool) -> None:
    why = refusal("n2", ask(stage), replace(MINE, leader_alive=True))
    assert why == ("" if granted else "the leader is alive")


@pytest.mark.parametrize("stage", STAGES)
def test_who_asks_for_votes_refuses_pre_votes_alone(stage: str) -> None:
    why = refusal("n2", ask(stage), replace(MINE, campaigns=True))
    assert why == ("I ask for votes myself" if stage == PRE else "")


@pytest.mark.parametrize("stage", [VOTE, TRANSFER])
@pytest.mark.parametrize(("vote", "granted"), [("", True), ("n2", True), ("n3", False)])
def test_one_vote_a_term(stage: str, vote: str, granted: bool) -> None:
    assert refusal("n2", ask(stage, term=5), replace(MINE, vote=vote)) == ("" if granted else "I voted for n3")


@pytest.mark.parametrize("stage", STAGES)
def test_a_vote_of_an_earlier_term_binds_nobody(stage: str) -> None:
    assert refusal("n2", ask(stage, term=6), replace(MINE, vote="n3")) == ""


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    ("last_term", "last_index", "granted"),
    [(4, 10, True), (4, 11, True), (5, 1, True), (4, 9, False), (3, 99, False)],
)
def test_whose_log_is_behind_could_lose_what_is_committed(
    stage: str, last_term: int, last_index: int, granted: bool
) -> None:
    why = refusal("n2", ask(stage, last_term=last_term, last_index=last_index), MINE)
    assert why == ("" if granted else "its log is behind mine")


@given(
    st.builds(Ballot, st.integers(0, 4), st.sampled_from(["", "n2", "n3"]), st.integers(0, 3), st.integers(0, 3),
              st.booleans(), st.booleans()),
    st.builds(Election, st.integers(0, 4), st.sampled_from(STAGES), st.integers(0, 3), st.integers(0, 3),
              st.integers(0, 1000)),
    st.integers(0, 1000),
)  # fmt: skip
def test_priority_never_matters(mine: Ballot, asked: Election, other: int) -> None:
    assert refusal("n2", asked, mine) == refusal("n2", replace(asked, priority=other), mine)


def test_no_two_candidates_get_a_vote_in_one_term() -> None:
    """Every order of two requests in the same term, the ballot kept as a voter keeps it."""
    for first, second, stage in product(("n2", "n3"), ("n2", "n3"), (VOTE, TRANSFER)):
        assert refusal(first, ask(stage, term=5), MINE) == ""
        after = replace(MINE, vote=first)
        assert (refusal(second, ask(stage, term=5), after) == "") is (first == second)


# -- the count -----------------------------------------------------------------------------------------------------


def tally(*answers: tuple[str, Answer], stage: str = VOTE, quorum_size: int = 0) -> Tally:
    counted = Tally(6, stage, {"n1": "d1", "n2": "d2", "n3": "d3"}, quorum_size)
    for voter, answer in answers:
        counted.count(voter, answer if answer.store else replace(answer, store=f"d{voter[1:]}"))
    return counted


def yes(term: int = 6, stage: str = VOTE, age: float = 0.5) -> Answer:
    return Answer(term, stage, True, age)


def no(term: int = 5, stage: str = VOTE) -> Answer:
    return Answer(term, stage, False, 0.0)


@pytest.mark.parametrize(
    ("answers", "granted", "won"),
    [
        ([], "", False),
        ([("n1", yes())], "n1", False),
        ([("n1", yes()), ("n2", yes())], "n1 n2", True),
        ([("n1", yes()), ("n1", yes()), ("n1", yes())], "n1", False),  # the network repeats itself
        ([("n1", yes()), ("n4", yes()), ("n5", yes())], "n1", False),  # no voters
        ([("n1", yes()), ("n2", replace(yes(), store="wiped"))], "n1", False),  # the voter had another disk
        ([("n1", yes()), ("n2", yes(stage=PRE))], "n1", False),  # of an earlier stage
        ([("n1", yes()), ("n2", yes(term=5))], "n1", False),  # of an earlier term
        ([("n1", yes()), ("n2", no()), ("n2", yes())], "n1 n2", True),  # the no was to an earlier attempt
        ([("n1", yes()), ("n2", yes()), ("n2", no())], "n1 n2", True),  # a yes is never taken back
        ([("n1", yes()), ("n2", no()), ("n2", yes(term=5))], "n1", False),
        ([("n1", yes()), ("n2", no()), ("n3", yes())], "n1 n3", True),
    ],
)
def test_count(answers: list[tuple[str, Answer]], granted: str, won: bool) -> None:
    counted = tally(*answers)
    assert sorted(counted.ages) == granted.split()
    assert counted.won is won


def test_a_larger_quorum_needs_more_votes() -> None:
    assert not tally(("n1", yes()), ("n2", yes()), quorum_size=3).won
    assert tally(("n1", yes()), ("n2", yes()), ("n3", yes()), quorum_size=3).won


def test_the_least_age_counts_for_the_lease() -> None:
    assert tally(("n1", yes(age=2.5)), ("n2", yes(age=0.75))).age_min == 0.75


def test_an_age_below_zero_says_nothing_good() -> None:
    assert tally(("n1", yes(age=2.5)), ("n2", yes(age=-9.0))).age_min == 0.0


def test_only_the_first_age_of_a_voter_counts() -> None:
    assert tally(("n1", yes(age=2.0)), ("n1", yes(age=9.0)), ("n2", yes(age=3.0))).age_min == 2.0


# -- the order -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("me", "priority", "others", "expected"),
    [
        ("n1", 100, {}, 0),
        ("n2", 100, {"n1": 100, "n3": 100}, 1),  # ties go to the lower id
        ("n1", 100, {"n2": 100, "n3": 100}, 0),
        ("n1", 50, {"n2": 100, "n3": 51}, 2),
        ("n3", 200, {"n1": 100, "n2": 100}, 0),
    ],
)
def test_rank(me: str, priority: int, others: dict[str, int], expected: int) -> None:
    assert rank(me, priority, others) == expected


@given(st.dictionaries(st.sampled_from([f"n{number}" for number in range(9)]), st.integers(0, 3), min_size=1))
def test_ranks_are_an_order_without_ties(nodes: dict[str, int]) -> None:
    ranks = [rank(me, mine, {n: p for n, p in nodes.items() if n != me}) for me, mine in nodes.items()]
    assert sorted(ranks) == list(range(len(nodes)))
