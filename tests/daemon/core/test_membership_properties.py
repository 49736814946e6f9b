"""Any order, repetition and loss of the same facts leads to the same members."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mltb_transport.messages import Heartbeat, Ping, Pong, Suspicion, Sync
from mltb_transport.records import Record
from mltbd.core.membership import Membership
from mltbd.core.peers import flaw, version
from mltbd.core.roster import MEMBERS_MAX
from tests.daemon.core.membership_kit import TIMEOUT_S, check, record, said, started

NODES = ("n1", "n2", "n3", "n4")
versions = st.tuples(st.integers(1, 4), st.integers(1, 6))


def fact(node: str, incarnation: int, seq: int) -> Record:
    """One version says one thing."""
    return record(node, incarnation, seq, applied=incarnation * 100 + seq)


facts = st.builds(lambda node, known: fact(node, *known), st.sampled_from(NODES[1:]), versions)
syncs = st.lists(st.lists(facts, max_size=5), max_size=12)


def told(batches: list[list[Record]]) -> Membership:
    """n1 after n9, a member without news of its own, passed on these batches of records."""
    one = started("n9")
    for count, batch in enumerate(batches):
        one.heard("n9", 1, Sync(tuple(batch), reply=False), count * 0.01)
        check(one)
    return one


def known(one: Membership) -> dict[str, Record | None]:
    return {node: one.record(node) for node in NODES[1:]}


@given(syncs, st.randoms(use_true_random=False))
def test_the_newest_of_each_node_stands_whatever_the_order(batches: list[list[Record]], chance: random.Random) -> None:
    newest: dict[str, Record | None] = dict.fromkeys(NODES[1:])
    for batch in batches:
        for each in batch:
            held = newest[each.node]
            if held is None or version(each) > version(held):
                newest[each.node] = each
    loose = [each for batch in batches for each in batch] * 2
    chance.shuffle(loose)
    assert known(told(batches)) == newest
    assert known(told([[each] for each in loose])) == newest
    assert known(told([*batches, *reversed(batches)])) == newest


@given(syncs, syncs, st.randoms(use_true_random=False))
def test_what_was_lost_for_one_is_made_good_by_one_exchange(
    mine: list[list[Record]], theirs: list[list[Record]], chance: random.Random
) -> None:
    one = told([batch for batch in [*mine, *theirs] if chance.random() < 0.6])
    other = told([batch for batch in [*mine, *theirs] if chance.random() < 0.6])
    asked = other.heard("n9", 1, Sync((), reply=True), 1.0)
    one.heard("n9", 1, said(Sync, asked)[0], 1.0)
    other.heard("n9", 1, said(Sync, one.heard("n9", 1, Sync((), reply=True), 1.0))[0], 1.0)
    assert known(one) == known(other)


wild_records = st.builds(
    record,
    st.sampled_from([*NODES, "n9", "", "N1", "n-" * 40]),
    st.integers(-1, 5),
    st.integers(-1, 5),
    store=st.sampled_from(["disk-n1", "disk-x"]),
    cluster=st.sampled_from(["", "c1", "c2"]),
    address=st.sampled_from(["", "10.0.0.1", "10.0.0.2"]),
    port=st.sampled_from([0, 7946, 65535]),
    state=st.sampled_from(["JOINING", "ACTIVE", "LEAVING", "word of a newer version"]),
)
suspicions = st.builds(Suspicion, st.sampled_from(NODES), st.integers(-1, 6))
messages = st.one_of(
    st.builds(Heartbeat, wild_records, st.lists(suspicions, max_size=3).map(tuple)),
    st.builds(Sync, st.lists(wild_records, max_size=4).map(tuple), st.booleans()),
    st.builds(Ping, st.integers(0, 3)),
    st.builds(Pong, st.integers(0, 2**33)),
)
events = st.tuples(st.sampled_from(NODES), st.integers(0, 5), messages, st.floats(0, TIMEOUT_S))


@settings(max_examples=200)
@given(st.lists(events, max_size=30), st.sampled_from(["", "c1"]))
def test_whatever_is_heard_leaves_a_valid_membership_that_goes_on(
    history: list[tuple[str, int, Heartbeat | Sync | Ping | Pong, float]], cluster: str
) -> None:
    one = started(cluster=cluster)
    now, seq = 0.0, one.own.seq
    for sender, incarnation, message, pause in history:
        while one.next_deadline() <= now + pause:
            due = max(now, one.next_deadline())
            one.tick(due)
            assert one.next_deadline() > due
        now += pause
        one.heard(sender, incarnation, message, now)
        check(one)
        assert (one.own.node, one.own.store) == ("n1", "disk-n1")
        assert one.own.seq >= seq
        seq = one.own.seq
        shown = one.members(now)
        assert [member.record.node for member in shown] == sorted(member.record.node for member in shown)
        assert all(member.silent_s >= 0 and not flaw(member.record) for member in shown)


@given(st.integers(2, 200))
def test_a_crowd_never_outgrows_the_limit(count: int) -> None:
    one = started()
    for number in range(2, count + 2):
        one.heard(f"n{number}", 1, Heartbeat(record(f"n{number}"), ()), 0.1)
        check(one)
    assert len(one.members(0.1)) == min(count + 1, MEMBERS_MAX)


def test_changes_of_what_a_node_may_not_change_are_a_type_error() -> None:
    one = started()
    with pytest.raises(TypeError):
        one.update_own(0.1, colour="red")  # type: ignore[call-arg]
