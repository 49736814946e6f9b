"""Quorum arithmetic: a table of the cases one can do in one's head, and the rest against a count by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltbd.core.quorum import agreed, needed, reached, tolerance

NODES = [f"n{number}" for number in range(1, 10)]
voter_sets = st.sets(st.sampled_from(NODES), max_size=7)
sizes = st.integers(0, 9)


def enough(votes: int, voters: int, quorum_size: int) -> bool:
    """The same rule said slowly: more than the others together, and as many as asked for where so many exist."""
    majority = votes > voters - votes
    asked_for = votes >= quorum_size or votes == voters
    return majority and asked_for


@pytest.mark.parametrize(
    ("voters", "quorum_size", "expected"),
    [
        (1, 0, 1), (2, 0, 2), (3, 0, 2), (4, 0, 3), (5, 0, 3), (6, 0, 4), (7, 0, 4),
        (5, 2, 3),  # never less than the majority
        (5, 4, 4), (5, 5, 5),
        (5, 9, 5),  # never more than there are
        (0, 0, 1),  # nobody is no quorum
    ],
)  # fmt: skip
def test_needed(voters: int, quorum_size: int, expected: int) -> None:
    assert needed(voters, quorum_size) == expected


@given(st.integers(1, 50), sizes)
def test_two_quorums_of_the_same_voters_always_meet(voters: int, quorum_size: int) -> None:
    count = needed(voters, quorum_size)
    assert 2 * count > voters
    assert count <= voters


@pytest.mark.parametrize(
    ("voters", "granted", "quorum_size", "expected"),
    [
        ("n1 n2 n3", "n1 n2", 0, True),
        ("n1 n2 n3", "n1", 0, False),
        ("n1 n2 n3", "n1 n1 n1", 0, False),  # once a voter
        ("n1 n2 n3", "n1 n4 n5", 0, False),  # who is no voter counts nowhere
        ("n1 n2 n3", "n1 n2", 3, False),
        ("n1 n2", "n1", 0, False),
        ("n1", "n1", 0, True),
        ("", "", 0, False),
        ("", "n1", 0, False),
    ],
)
def test_reached(voters: str, granted: str, quorum_size: int, expected: bool) -> None:
    assert reached(voters.split(), granted.split(), quorum_size) is expected


@given(voter_sets, st.lists(st.sampled_from(NODES), max_size=20), sizes)
def test_reached_is_a_count_by_hand(voters: set[str], granted: list[str], quorum_size: int) -> None:
    votes = sum(1 for voter in voters if voter in granted)
    assert reached(voters, granted, quorum_size) is (bool(voters) and enough(votes, len(voters), quorum_size))


@given(voter_sets, st.dictionaries(st.sampled_from(NODES), st.integers(0, 12)), sizes)
def test_agreed_is_the_last_number_that_enough_voters_have_counted_to(
    voters: set[str], values: dict[str, int], quorum_size: int
) -> None:
    found = 0
    for number in range(1, 13):
        have = [voter for voter in voters if voter in values and values[voter] >= number]
        if voters and enough(len(have), len(voters), quorum_size):
            found = number
    counted = [value for voter, value in values.items() if voter in voters]
    assert agreed(counted, len(voters), quorum_size) == found


@pytest.mark.parametrize(
    ("voters", "reachable", "quorum_size", "expected"),
    [(3, 3, 0, 1), (3, 2, 0, 0), (3, 1, 0, 0), (5, 5, 0, 2), (5, 5, 4, 1), (2, 2, 0, 0), (1, 1, 0, 0), (0, 3, 0, 0)],
)
def test_tolerance(voters: int, reachable: int, quorum_size: int, expected: int) -> None:
    assert tolerance(voters, reachable, quorum_size) == expected


@given(st.integers(1, 9), st.integers(0, 9), sizes)
def test_tolerance_is_how_many_can_be_taken_away_one_by_one(voters: int, reachable: int, quorum_size: int) -> None:
    left = min(reachable, voters)
    lost = 0
    while enough(left - lost - 1, voters, quorum_size):
        lost += 1
    assert tolerance(voters, left, quorum_size) == (lost if enough(left, voters, quorum_size) else 0)
