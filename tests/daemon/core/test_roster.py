"""Which facts of other nodes stand, and how long: one rule a test, the clock given by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mltb_transport.gossip import Loss, News
from mltb_transport.messages import Heartbeat, Ping, Pong, Suspicion, Sync
from mltbd.core.effects import Link, Note, Send
from mltbd.core.membership import RECORDS_MAX, Membership
from mltbd.core.roster import FORGET_S, FORGOTTEN_MAX, MEMBERS_MAX, STALE_S
from mltbd.core.senders import LEAP_MAX
from tests.daemon.core.membership_kit import (
    HEARTBEAT_S,
    TIMEOUT_S,
    Dice,
    beat,
    check,
    of,
    record,
    said,
    started,
    tick_until,
)


@pytest.mark.parametrize(
    ("incarnation", "seq", "taken"),
    [(1, 6, True), (1, 5, False), (1, 4, False), (2, 1, True), (0, 99, False)],
)
def test_higher_incarnation_wins_then_seq(incarnation: int, seq: int, taken: bool) -> None:
    one = started()
    one.heard("n2", 1, beat("n2", 5), 0.1)
    one.heard("n2", incarnation, beat("n2", seq, incarnation, health="DEGRADED"), 0.2)
    held = one.record("n2")
    assert held is not None
    assert (held.health == "DEGRADED") is taken


@pytest.mark.parametrize(("incarnation", "seq"), [(2 + LEAP_MAX, 1), (1, 6 + LEAP_MAX), (2**61, 1), (1, 2**61)])
def test_a_version_that_no_counting_led_to_is_not_taken_over(incarnation: int, seq: int) -> None:
    one = started("n9")
    one.heard("n2", 1, beat("n2", 5), 0.1)
    before = one.record("n2")
    lie = record("n2", incarnation, seq)
    for message in (Sync((lie,), reply=False), Sync((replace(lie, node="n3"),), reply=False)):
        one.heard("n9", 1, message, 0.2)
    one.alive("n2", 2 + LEAP_MAX, 0.3)
    assert (one.record("n2"), one.record("n3")) == (before, None)
    assert one.counters["leap"] == 3
    one.heard("n2", 2, beat("n2", 1, 2), 0.4)
    assert one.record("n2") == beat("n2", 1, 2).record, "it itself counts on"


def test_a_loss_in_a_version_that_no_counting_led_to_is_not_believed() -> None:
    others = [f"n{number}" for number in range(2, 31)]
    lost = []
    for run in (1, 2**61):
        one = started(*others)
        one.tick(0.1)
        losses = tuple(Loss(node, run, 9) for node in others[1:])
        one.heard("n2", 1, News((), losses), 0.2)
        lost.append([member.record.node for member in one.members(0.2) if member.state == "UNREACHABLE"])
    assert lost[0]
    assert not lost[1]


def test_a_missed_publication_is_asked_for_at_most_once_a_heartbeat() -> None:
    one = started("n2")
    one.heard("n2", 1, beat("n2", 2), 0.5)
    assert of(Send, one.heard("n2", 1, beat("n2", 4), 1.0)) == [Send("n2", Sync((one.own,), reply=True))]
    one.heard("n2", 1, Sync((record("n2", seq=4),), reply=False), 1.1)
    assert of(Send, one.heard("n2", 1, beat("n2", 6), 1.2)) == []
    asked = of(Send, one.heard("n2", 1, beat("n2", 7), 1.0 + HEARTBEAT_S))
    assert asked == [Send("n2", Sync((one.own,), reply=True))]


def test_a_new_incarnation_is_connected_anew_and_its_past_forgotten() -> None:
    one = started("n2")
    nonce = said(Ping, [effect for _, effect in tick_until(one, 1.2, Send)])[0].nonce
    one.heard("n2", 1, Pong(nonce), 1.3)
    assert one.members(1.3)[1].rtt_s is not None
    effects = one.heard("n2", 2, beat("n2", 1, 2), 1.4)
    assert of(Link, effects) == [Link("n2", "10.0.0.2", 7946, fresh=True)]
    assert Send("n2", Sync((one.own,), reply=True)) in effects
    assert one.members(1.4)[1].rtt_s is None


def test_a_frame_of_a_new_incarnation_is_enough_to_connect_anew_once() -> None:
    one = started("n2")
    assert of(Link, one.alive("n2", 2, 0.5)) == [Link("n2", "10.0.0.2", 7946, fresh=True)]
    assert of(Link, one.alive("n2", 2, 0.6)) == []
    assert of(Link, one.heard("n2", 2, beat("n2", 1, 2), 0.7)) == []
    check(one)


def test_a_frame_of_an_earlier_incarnation_is_no_sign_of_life() -> None:
    one = started("n2")
    one.alive("n2", 2, 1.0)
    one.alive("n2", 1, 2.0)
    assert one.counters["stale"] == 1
    tick_until(one, 1.0 + TIMEOUT_S, Note)
    assert not one.reachable("n2", 1.0 + TIMEOUT_S)


def test_who_forgot_how_far_it_had_come_is_told_now_and_then() -> None:
    """It went on as a later one than its disk knows, and was restarted: else nobody listens until it is suspect."""
    one = started("n2")
    one.alive("n2", 3, 1.0)
    reminder = Send("n2", Sync((record("n2", incarnation=3),), reply=False))
    told = [reminder in one.alive("n2", 2, 1.0 + share * STALE_S) for share in (0.9, 1.0, 1.9, 2.0)]
    assert told == [False, True, False, True], "what was sent before may be late"


def test_a_changed_address_is_linked() -> None:
    one = started("n2")
    moved = one.heard("n2", 1, beat("n2", 2, address="10.0.0.99"), 0.5)
    assert of(Link, moved) == [Link("n2", "10.0.0.99", 7946)]


def test_a_stranger_without_a_record_is_counted() -> None:
    one = started()
    assert one.alive("n9", 1, 0.1) == []
    assert one.heard("n9", 1, Ping(1), 0.2) == []
    assert one.counters["unknown_sender"] == 2


def test_one_member_too_many_is_refused_counted_and_told_once() -> None:
    one = started()
    crowd = [record(f"n{n}") for n in range(2, MEMBERS_MAX + 3)]
    effects = []
    for first in range(0, len(crowd), RECORDS_MAX):
        effects += one.heard("n2", 1, Sync(tuple(crowd[first : first + RECORDS_MAX]), reply=False), 0.1)
    check(one)
    assert len(one.members(0.1)) == MEMBERS_MAX
    assert one.counters["refused"] == 2
    assert [note.text for note in of(Note, effects) if note.level == "error"] == [
        "member `n1025` refused: 1024 are the most"
    ]


def test_who_left_is_forgotten_after_the_node_timeout_and_hearsay_does_not_bring_it_back() -> None:
    one = started("n2", "n3")
    one.heard("n2", 1, beat("n2", 2, state="LEAVING"), 1.0)
    assert [member.state for member in one.members(1.1)] == ["ACTIVE", "LEAVING", "ACTIVE"]
    tick_until(one, 1.0 + TIMEOUT_S + 1.2 * HEARTBEAT_S, Note)
    now = 1.0 + TIMEOUT_S + 1.3 * HEARTBEAT_S
    assert one.record("n2") is None
    one.heard("n3", 1, Sync((record("n2", seq=2, state="LEAVING"),), reply=False), now)
    assert one.record("n2") is None
    one.heard("n2", 2, beat("n2", 1, 2), now)
    assert one.reachable("n2", now)


def test_who_is_silent_for_a_day_is_forgotten() -> None:
    one = Membership(record("n1", seq=0), [], 600.0, 1800.0, Dice())
    one.start(0.0)
    one.heard("n2", 1, beat("n2", 1), 0.0)
    tick_until(one, FORGET_S - 1.0, Note)
    assert one.members(FORGET_S - 1.0)[1].state == "UNREACHABLE"
    tick_until(one, FORGET_S + 661.0, Note)
    assert one.record("n2") is None


def test_the_memory_of_the_forgotten_is_bounded() -> None:
    one = started()
    for number in range(2, FORGOTTEN_MAX + 5):
        now = number * 10.0
        tick_until(one, now, Note)
        one.heard(f"n{number}", 1, beat(f"n{number}", 1, state="LEAVING"), now)
    tick_until(one, now + 10.0, Note)
    assert len(one.members(now + 10.0)) == 1
    last = f"n{FORGOTTEN_MAX + 4}"
    one.heard(last, 1, beat(last, 1, state="LEAVING"), now + 10.0)
    assert one.record(last) is None
    one.heard("n2", 1, beat("n2", 1, state="LEAVING"), now + 10.0)
    assert one.record("n2") is not None


def test_suspicions_of_others_say_nothing_of_us() -> None:
    one = started("n2", "n3")
    heartbeat = Heartbeat(record("n2", seq=2), (Suspicion("n3", 1),))
    assert one.heard("n2", 1, heartbeat, 0.5) == []
    assert one.reachable("n3", 0.5)
