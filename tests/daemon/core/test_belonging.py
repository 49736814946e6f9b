"""Told that it was removed, a node believes it unless its own log knows better; then it stands for nothing."""

from __future__ import annotations

import pytest

from mltb_transport.messages import Entry, NoOp
from mltb_transport.voters import ChangeVoters, Removed, Voter
from mltbd.core.belonging import Belonging
from mltbd.state.machine import State
from tests.daemon.core.core_kit import THREE, WALL, Member, log_of, store
from tests.daemon.core.membership_kit import membership

OUT = Removed("c1", "n1", "disk-n1", 3)


def voters(*nodes: str) -> tuple[Voter, ...]:
    return tuple(Voter(node, store(node)) for node in nodes)


def change(index: int, cause: str, *nodes: str) -> Entry:
    return Entry(index, 2, WALL, ChangeVoters(voters(*nodes), cause, "n1", "disk-n1"))


REMOVAL = change(3, "removed", "n2", "n3")
ADMISSION = change(4, "admitted", "n2", "n3")


def belonging(*entries: Entry) -> tuple[Belonging, Member, State]:
    member = Member("n1", THREE, log=(*log_of(THREE, 1), *entries), term=2)
    state = State()
    return Belonging(state, member.consensus, membership("n1", cluster="c1"), member.out), member, state


@pytest.mark.parametrize(
    ("log", "believed"),
    [
        ((), True),
        ((REMOVAL,), True),
        ((REMOVAL, ADMISSION), False),  # whoever says so is behind
        ((REMOVAL, Entry(4, 2, WALL, NoOp())), True),
    ],
)
def test_who_says_so_may_be_behind(log: tuple[Entry, ...], believed: bool) -> None:
    node, member, _ = belonging(*log)
    node.told(OUT, 1.0)
    assert node.removed is believed
    assert member.consensus.expelled is believed
    assert not (believed and member.consensus.may_stand)


@pytest.mark.parametrize(
    "message", [Removed("c2", "n1", "disk-n1", 3), Removed("c1", "n2", "disk-n1", 3), Removed("c1", "n1", "old", 3)]
)
def test_what_concerns_somebody_else_is_left(message: Removed) -> None:
    node, member, _ = belonging()
    node.told(message, 1.0)
    assert not node.removed
    assert member.consensus.is_voter


def test_a_leader_that_replicates_to_us_knows_better_than_what_we_were_told() -> None:
    node, member, _ = belonging()
    node.told(OUT, 1.0)
    node.replicated_to()
    assert not node.removed
    assert member.consensus.is_voter


def test_our_own_log_is_believed_whoever_replicates() -> None:
    node, member, state = belonging(REMOVAL)
    for entry in (*log_of(THREE, 1), REMOVAL):
        state.apply(entry)
    node.look(1.0)
    node.replicated_to()
    assert node.removed
    assert not member.consensus.may_stand
    state.apply(ADMISSION)
    node.look(2.0)
    assert not node.removed
