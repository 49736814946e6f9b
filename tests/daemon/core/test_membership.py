"""How a node finds others and what it tells them: one rule a test, the clock given by hand."""

from __future__ import annotations

from itertools import pairwise
from math import inf
from typing import Any

import pytest

from mltb_transport.messages import Heartbeat, Ping, Pong, Sync
from mltb_transport.records import Record, WorkloadView
from mltbd.core import membership as rules
from mltbd.core.effects import Contact, Link, Publish, Send
from mltbd.core.membership import Membership
from mltbd.core.peers import RETRY_MAX_S, RETRY_MIN_S
from mltbd.core.probing import PINGS_MAX
from tests.daemon.core.membership_kit import (
    HEARTBEAT_S,
    TIMEOUT_S,
    beat,
    membership,
    of,
    record,
    said,
    started,
    tick_until,
)


def test_before_the_start_nothing_is_said() -> None:
    one = membership("n1", "10.0.0.2:7946")
    assert one.next_deadline() == inf
    assert one.tick(5.0) == []
    assert one.update_own(5.0, health="DEGRADED") == []
    assert one.own.health == "DEGRADED"


def test_start_publishes_and_contacts_every_seed_but_ourselves() -> None:
    one = membership("n1", "10.0.0.2:7946", "10.0.0.1:7946", "10.0.0.3:7946")
    effects = one.start(0.0)
    assert [heartbeat.record.seq for heartbeat in said(Heartbeat, effects)] == [1]
    assert [contact.address for contact in of(Contact, effects)] == ["10.0.0.2:7946", "10.0.0.3:7946"]
    assert {contact.message for contact in of(Contact, effects)} == {Sync((one.own,), reply=True)}


def test_a_silent_seed_is_contacted_for_ever_at_growing_pauses() -> None:
    one = membership("n1", "10.0.0.2:7946")
    one.start(0.0)
    moments = [at for at, _ in tick_until(one, 60.0, Contact)]
    pauses = [later - earlier for earlier, later in pairwise(moments)]
    assert 0.9 * RETRY_MIN_S <= moments[0] <= 1.1 * RETRY_MIN_S
    assert 1.8 * RETRY_MIN_S <= pauses[0] <= 2.2 * RETRY_MIN_S
    assert all(0.9 * RETRY_MAX_S <= pause <= 1.1 * RETRY_MAX_S for pause in pauses[7:])
    assert moments[-1] > 57.0


def test_a_seed_rests_while_a_member_lives_there_and_is_tried_again_when_it_does_not() -> None:
    one = membership("n1", "10.0.0.2:7946")
    one.start(0.0)
    one.heard("n2", 1, Sync((record("n2"),), reply=False), 0.1)
    moments = [at for at, _ in tick_until(one, 20.0, Contact)]
    assert moments
    assert TIMEOUT_S <= moments[0] <= 0.1 + TIMEOUT_S + 1.2 * HEARTBEAT_S


def test_too_many_seeds_are_refused() -> None:
    seeds = [f"10.0.1.{n}:7946" for n in range(rules.SEEDS_MAX + 1)]
    with pytest.raises(ValueError, match="65 seeds"):
        membership("n1", *seeds)
    assert len(of(Contact, membership("n1", *seeds[1:]).start(0.0))) == rules.SEEDS_MAX


def test_a_new_member_is_linked_then_asked_for_what_it_knows() -> None:
    one = started()
    effects = one.heard("n2", 1, beat("n2", 5), 0.1)
    assert of(Link, effects) == [Link("n2", "10.0.0.2", 7946)]
    assert of(Send, effects) == [Send("n2", Sync((one.own,), reply=True))]
    assert effects.index(of(Link, effects)[0]) < effects.index(of(Send, effects)[0])
    assert one.reachable("n2", 0.1)


def test_the_question_is_repeated_until_answered() -> None:
    one = started()
    one.heard("n2", 1, beat("n2", 1), 0.0)
    asked = [effect for _, effect in tick_until(one, 1.0, Send) if isinstance(effect.message, Sync)]
    assert len(asked) > 2
    one.heard("n2", 1, Sync((record("n2", seq=2),), reply=False), 1.0)
    asked = [effect for _, effect in tick_until(one, 2.0, Send) if isinstance(effect.message, Sync)]
    assert asked == []


def test_a_question_is_answered_with_everything() -> None:
    one = started("n2", "n3")
    effects = one.heard("n2", 1, Sync((record("n2"),), reply=True), 0.5)
    assert of(Send, effects) == [Send("n2", Sync((one.own, record("n2"), record("n3")), reply=False))]


def test_hearsay_makes_a_member_known_but_not_reachable() -> None:
    one = started("n2")
    effects = one.heard("n2", 1, Sync((record("n2"), record("n3", seq=40)), reply=False), 1.0)
    assert of(Link, effects) == [Link("n3", "10.0.0.3", 7946)]
    assert not one.reachable("n3", 1.0)
    assert [member.state for member in one.members(1.0)] == ["ACTIVE", "ACTIVE", "UNREACHABLE"]
    one.heard("n2", 1, Sync((record("n3", seq=41),), reply=False), 1.1)
    assert not one.reachable("n3", 1.1)
    one.alive("n3", 1, 1.2)
    assert one.reachable("n3", 1.2)


def test_a_sync_is_read_up_to_its_limit() -> None:
    one = started()
    known = [record("n2", seq=n) for n in range(1, rules.RECORDS_MAX + 11)]
    one.heard("n2", 1, Sync(tuple(known), reply=False), 0.1)
    held = one.record("n2")
    assert held is not None
    assert held.seq == rules.RECORDS_MAX
    assert one.counters["records_left"] == 10


@pytest.mark.parametrize(
    "wrong",
    [
        record("n2", address=""),
        record("n2", port=0),
        record("n2", port=65535),
        record("n2", seq=-1),
        record("n2", incarnation=2**62),
        record("n2", incarnation=-1),
        record("N2"),
        record("n" * 64),
    ],
)
def test_a_record_that_can_be_of_no_node_is_counted_and_left(wrong: Record) -> None:
    one = started("n3")
    effects = one.heard("n3", 1, Sync((wrong,), reply=False), 0.1)
    assert effects == []
    assert one.counters["malformed"] == 1
    assert [member.record.node for member in one.members(0.1)] == ["n1", "n3"]


def test_a_heartbeat_in_anothers_name_is_counted_and_left() -> None:
    one = started("n2")
    assert one.heard("n2", 1, beat("n3", 5), 1.0) == []
    assert one.counters["forged"] == 1
    assert one.record("n3") is None


def view(hold_until: float, pid: int = 7) -> WorkloadView:
    return WorkloadView("main", "RUNNING", 3, pid, 0, "HEALTHY", 0, hold_until)


@pytest.mark.parametrize(
    ("changes", "urgent"),
    [
        ({"state": "DEGRADED"}, True),
        ({"health": "UNHEALTHY"}, True),
        ({"ready": ("main",)}, True),
        ({"workloads": (view(1.0, pid=8),)}, True),
        ({"workloads": (view(0.5),)}, False),
        ({"leader": "n2"}, True),
        ({"term": 2}, True),
        ({"cluster": "c1"}, True),
        ({"applied": 5}, False),
        ({}, False),
    ],
)
def test_what_others_should_know_is_published_at_once(changes: dict[str, Any], urgent: bool) -> None:
    one = started(workloads=(view(1.0),))
    effects = one.update_own(0.5, **changes)
    assert bool(of(Publish, effects)) is urgent
    assert [one.own == heartbeat.record for heartbeat in said(Heartbeat, effects)] == [True] * urgent


def test_what_can_wait_goes_with_the_next_heartbeat_under_a_new_seq() -> None:
    one = started("n2")
    one.update_own(0.5, applied=9)
    answer = of(Send, one.heard("n2", 1, Sync((record("n2"),), reply=True), 0.6))[0].message
    assert isinstance(answer, Sync)
    assert (answer.records[0].seq, answer.records[0].applied) == (1, 0)
    heartbeat = said(Heartbeat, [effect for _, effect in tick_until(one, 1.2, Publish)])[0]
    assert (heartbeat.record.seq, heartbeat.record.applied) == (2, 9)


def test_leaving_is_told_by_both_ways() -> None:
    one = started("n2", "n3")
    effects = one.update_own(1.0, state="LEAVING")
    assert len(of(Publish, effects)) == 1
    assert of(Send, effects) == [Send(node, Sync((one.own,), reply=False)) for node in ("n2", "n3")]


def test_heartbeats_are_jittered_around_their_interval() -> None:
    one = started()
    moments = [at for at, _ in tick_until(one, 50.0, Publish)]
    pauses = [later - earlier for earlier, later in pairwise(moments)]
    assert all(0.9 * HEARTBEAT_S <= pause <= 1.1 * HEARTBEAT_S for pause in pauses)
    assert len(set(pauses)) > 10


def test_one_random_member_is_synced_with_every_15_to_30_seconds() -> None:
    one = started("n2", "n3")
    found = []
    while one.next_deadline() < 200.0:
        now = one.next_deadline()
        one.alive("n2", 1, now)
        one.alive("n3", 1, now)
        found += [(now, send.to) for send in of(Send, one.tick(now)) if isinstance(send.message, Sync)]
    pauses = [later[0] - earlier[0] for earlier, later in pairwise(found)]
    assert len(pauses) >= 5
    assert all(15.0 <= pause <= 30.0 for pause in pauses)
    assert {node for _, node in found} == {"n2", "n3"}


def pinged(one: Membership, until: float) -> list[tuple[float, int]]:
    """When it pings whom it knows, and the nonces."""
    sent = tick_until(one, until, Send)
    return [(at, send.message.nonce) for at, send in sent if isinstance(send.message, Ping)]


def test_pings_are_answered_and_round_trips_smoothed() -> None:
    one = started("n2")
    assert of(Send, one.heard("n2", 1, Ping(77), 0.1)) == [Send("n2", Pong(77))]
    at, nonce = pinged(one, 1.4)[0]
    one.heard("n2", 1, Pong(nonce), at + 0.1)
    assert one.members(at + 0.1)[1].rtt_s == pytest.approx(0.1)
    one.heard("n2", 1, Pong(nonce), at + 0.2)
    assert one.members(at + 0.2)[1].rtt_s == pytest.approx(0.1), "a repeated answer measures nothing"
    at, nonce = pinged(one, at + 1.4)[0]
    one.heard("n2", 1, Pong(nonce), at + 0.2)
    assert one.members(at + 0.2)[1].rtt_s == pytest.approx(0.1 + 0.2 * 0.1)


def test_old_pings_are_forgotten() -> None:
    one = started("n2")
    nonces = [nonce for _, nonce in pinged(one, 60.0)]
    assert len(set(nonces)) > PINGS_MAX
    one.heard("n2", 1, Pong(nonces[0]), 60.0)
    one.heard("n2", 1, Pong(2**50), 60.0)
    assert one.members(60.0)[1].rtt_s is None
