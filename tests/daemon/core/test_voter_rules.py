"""Which change of the voters is allowed, and which the leader makes by itself."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltbd.core import quorum
from mltbd.core.voter_rules import (
    CAUGHT_UP,
    PROVEN_S,
    VOTERS_MAX,
    Follower,
    as_voters,
    due,
    may_change,
    sum_of,
)

NODES = tuple(f"n{number}" for number in range(1, 9))
sets = st.dictionaries(st.sampled_from(NODES), st.sampled_from(("a", "b")), max_size=8)


def disks(*nodes: str) -> dict[str, str]:
    return {node: f"disk-{node}" for node in nodes}


def follower(node: str, **changes: object) -> Follower:
    plain = Follower(node, f"disk-{node}", "voter", 100, 0, True, PROVEN_S)
    return replace(plain, **changes)  # type: ignore[arg-type]


@given(sets, sets)
def test_any_two_quorums_around_an_allowed_change_meet(before: dict[str, str], after: dict[str, str]) -> None:
    if not before or not may_change(before, after):
        return
    old = quorum.needed(len(before))
    new = quorum.needed(len(after))
    for some in combinations(sorted(before.items()), old):
        for others in combinations(sorted(after.items()), new):
            assert set(some) & set(others)


@pytest.mark.parametrize(
    ("before", "after", "allowed"),
    [
        (disks("n1", "n2"), disks("n1", "n2", "n3"), True),
        (disks("n1", "n2", "n3"), disks("n1", "n2"), True),
        (disks("n1", "n2"), disks("n1", "n2"), True),  # only who is refused changes
        (disks("n1"), {}, False),
        (disks("n1", "n2", "n3"), disks("n1"), False),
        (disks("n1"), disks("n1", "n2", "n3"), False),
        (disks("n1", "n2"), disks("n1", "n3"), False),
        (disks("n1", "n2"), {**disks("n1"), "n2": "another"}, False),
        (disks(*NODES[:VOTERS_MAX]), disks(*NODES), False),
    ],
)
def test_one_voter_at_a_time(before: dict[str, str], after: dict[str, str], allowed: bool) -> None:
    assert may_change(before, after) is allowed


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, ""),
        ({"role": "witness"}, ""),
        ({"behind": CAUGHT_UP}, ""),
        ({"role": "observer"}, "its CLUSTER_ROLE is observer"),
        ({"role": "unknown"}, "its CLUSTER_ROLE is unknown"),
        ({"leaving": True}, "it is leaving"),
        ({"knows_voters": False}, "it has not heard of the last change of the voters"),
        ({"answers": False}, "it does not answer"),
        ({"store": ""}, "it does not answer"),
        ({"behind": CAUGHT_UP + 1}, f"it is {CAUGHT_UP + 1} entries behind"),
    ],
)
def test_who_can_become_a_voter(changes: dict[str, object], why: str) -> None:
    assert follower("n4", **changes).unfit() == why


def made(voters: dict[str, str], *followers: Follower, quorum_size: int = 0) -> str:
    """What is due, in words."""
    answering = {"n1": "disk-n1", **{f.node: f.store for f in followers if f.answers}}
    command = due(voters, followers, answering, quorum_size)
    if command is None:
        return ""
    names = " ".join(voter.node for voter in command.voters)
    return f"{command.cause} {command.node} {command.store}: {names}"


@pytest.mark.parametrize(
    ("voters", "others", "change"),
    [
        (1, "", ""),
        (1, "n2", ""),
        (1, "n2 n3", "promoted n2 disk-n2: n1 n2"),
        (2, "n2", ""),
        (2, "n2 n3", "promoted n3 disk-n3: n1 n2 n3"),
        (3, "n2 n3 n4 n5", ""),  # five are the operator's to ask for
        (4, "n2 n3 n4", ""),
        (4, "n2 n3 n4 n5", "promoted n5 disk-n5: n1 n2 n3 n4 n5"),
        (6, "n2 n3 n4 n5 n6 n7", "promoted n7 disk-n7: n1 n2 n3 n4 n5 n6 n7"),
        (7, "n2 n3 n4 n5 n6 n7 n8", ""),
    ],
)
def test_the_number_of_voters_becomes_odd(voters: int, others: str, change: str) -> None:
    assert made(disks(*NODES[:voters]), *(follower(node) for node in others.split())) == change


def test_the_best_observer_is_promoted() -> None:
    two = disks("n1", "n2")
    able = (follower("n2"), follower("n3", priority=50), follower("n4", priority=60), follower("n5", priority=60))
    assert made(two, *able).startswith("promoted n4")
    young = replace(able[2], answering_s=PROVEN_S - 0.1)
    assert made(two, *able[:2], young, able[3]).startswith("promoted n5")
    assert made(two, able[0], replace(able[1], role="observer")) == ""


@pytest.mark.parametrize(
    ("changes", "quorum_size", "change"),
    [
        ({}, 0, "lost n3 disk-n3: n1 n2"),
        ({"behind": CAUGHT_UP + 1}, 0, ""),
        ({"answers": False}, 0, ""),
        ({"role": "observer"}, 0, ""),
        ({"store": ""}, 0, ""),
    ],
)
def test_a_lost_disk_leaves_once_its_node_has_caught_up(
    changes: dict[str, object], quorum_size: int, change: str
) -> None:
    wiped = follower("n3", **{"store": "new", **changes})
    assert made(disks("n1", "n2", "n3"), follower("n2"), wiped, quorum_size=quorum_size) == change


def test_a_lost_disk_stays_a_voter_while_the_rest_would_have_no_quorum() -> None:
    wiped = (follower("n2", store="new"), follower("n3", store="new"))
    assert made(disks("n1", "n2", "n3"), *wiped) == ""
    assert made(disks("n1", "n2", "n3", "n4", "n5"), *wiped, follower("n4"), follower("n5")).startswith("lost n2")


def test_the_arithmetic() -> None:
    three = disks("n1", "n2", "n3")
    whole = sum_of(three, three, 0)
    assert (whole.voters, whole.needed, whole.answering, whole.tolerance, whole.holds) == (3, 2, 3, 1, True)
    wiped = sum_of(three, {**disks("n1"), "n2": "new"}, 0)
    assert (wiped.answering, wiped.holds, wiped.words()) == (1, False, "1 of 3 voters answer, 2 needed")
    assert sum_of(three, three, 3).tolerance == 0
    assert not sum_of({}, three, 0).holds


def test_voters_are_listed_in_order() -> None:
    assert [voter.node for voter in as_voters(disks("n3", "n1", "n2"))] == ["n1", "n2", "n3"]
