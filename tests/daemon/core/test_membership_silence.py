"""Silence: suspicion, probes, refutation, strain and our own standstill."""

from __future__ import annotations

import pytest

from mltb_transport.gossip import Probe, Probed
from mltb_transport.messages import Heartbeat, Ping, Pong, Suspicion, Sync
from mltbd.core.effects import Note, Publish, Send
from mltbd.core.membership import HELPERS_MAX, Membership
from mltbd.core.peers import SPOKE_S
from mltbd.core.strain import WIDEN_MAX
from tests.daemon.core.membership_kit import (
    HEARTBEAT_S,
    TIMEOUT_S,
    beat,
    levels,
    of,
    record,
    said,
    started,
    tick_until,
)


def keep(one: Membership, *nodes: str, until: float) -> list[Heartbeat]:
    """Ticks `one` while `nodes` give a sign of life at each tick. Returns what it publishes."""
    found = []
    while (now := one.next_deadline()) <= until:
        for node in nodes:
            one.alive(node, 1, now)
        found += said(Heartbeat, one.tick(now))
    return found


def test_a_silent_member_is_probed_at_half_its_time_directly_and_through_others() -> None:
    one = started("n2", "n3", "n4", "n5", "n6")
    keep(one, "n3", "n4", "n5", "n6", until=TIMEOUT_S / 2 - 0.001)
    now = one.next_deadline()
    assert now == pytest.approx(TIMEOUT_S / 2)
    for node in ("n3", "n4", "n5", "n6"):
        one.alive(node, 1, now)
    sent = of(Send, one.tick(now))
    assert [send.to for send in sent if isinstance(send.message, Ping)] == ["n2"]
    helpers = [send.to for send in sent if isinstance(send.message, Probe) and send.message.node == "n2"]
    assert len(set(helpers)) == len(helpers) == HELPERS_MAX
    assert "n2" not in helpers


def probes(one: Membership, now: float) -> list[tuple[str, Probe]]:
    sends = of(Send, one.tick(now))
    return [(send.to, send.message) for send in sends if isinstance(send.message, Probe)]


def test_a_member_that_a_helper_reaches_is_kept() -> None:
    one = started("n2", "n3")
    keep(one, "n3", until=TIMEOUT_S / 2 - 0.001)
    one.alive("n3", 1, TIMEOUT_S / 2)
    [(helper, probe)] = probes(one, TIMEOUT_S / 2)
    assert helper == "n3"
    one.heard("n3", 1, Probed("n2", probe.nonce, ok=False), 0.6 * TIMEOUT_S)
    assert one.members(0.9 * TIMEOUT_S)[1].silent_s == pytest.approx(0.9 * TIMEOUT_S), "it has only begun"
    one.heard("n3", 1, Probed("n2", probe.nonce + 1, ok=True), 0.6 * TIMEOUT_S)
    assert one.members(0.9 * TIMEOUT_S)[1].silent_s == pytest.approx(0.9 * TIMEOUT_S), "not what we asked"
    one.heard("n3", 1, Probed("n2", probe.nonce, ok=True), 0.9 * TIMEOUT_S)
    assert one.reachable("n2", 1.5 * TIMEOUT_S)


def test_a_helper_pings_for_others_and_tells_them() -> None:
    one = started("n2", "n3")
    sent = of(Send, one.heard("n3", 1, Probe("n2", 77), 0.1))
    assert [(send.to, type(send.message)) for send in sent] == [("n3", Probed), ("n2", Ping)]
    assert sent[0].message == Probed("n2", 77, ok=False)
    ping = sent[1].message
    assert isinstance(ping, Ping)
    assert of(Send, one.heard("n2", 1, Pong(ping.nonce), 0.2)) == [Send("n3", Probed("n2", 77, ok=True))]
    assert of(Send, one.heard("n2", 1, Pong(ping.nonce), 0.3)) == [], "once"
    assert of(Send, one.heard("n3", 1, Probe("n9", 78), 0.4)) == [Send("n3", Probed("n9", 78, ok=False))]


def test_the_suspect_is_told_first_so_that_it_can_refute() -> None:
    one = started("n2", "n3")
    keep(one, "n3", until=TIMEOUT_S / 2 - 0.001)
    sent = of(Send, one.tick(TIMEOUT_S / 2))
    told = [send.message for send in sent if send.to == "n2" and isinstance(send.message, Heartbeat)]
    assert [heartbeat.suspicions for heartbeat in told] == [(Suspicion("n2", 1),)]


def test_whose_helpers_are_silent_too_doubts_itself() -> None:
    one = started("n2", "n3", "n4")
    tick_until(one, 0.95 * TIMEOUT_S, Publish)
    assert one.own.strain > 0


def test_others_who_suspect_it_too_make_up_for_our_strain() -> None:
    one = started("n2", "n3", "n4", "n5")
    keep(one, "n3", "n4", "n5", until=0.9 * TIMEOUT_S)
    now = 0.9 * TIMEOUT_S
    for _ in range(3):
        one.strain(1.0, now)
    alone = [one.reachable("n2", now)]
    for accuser in ("n3", "n4", "n5"):
        one.heard(accuser, 1, Heartbeat(record(accuser, seq=2), (Suspicion("n2", 1),)), now)
    tick_until(one, 1.001 * TIMEOUT_S, Note)
    assert alone == [True]
    assert not one.reachable("n2", 1.001 * TIMEOUT_S), "as if we were well"


def test_a_suspicion_is_published_until_it_is_refuted() -> None:
    one = started("n2", "n3")
    published = keep(one, "n3", until=0.8 * TIMEOUT_S)
    assert published[0].suspicions == ()
    assert published[-1].suspicions == (Suspicion("n2", 1),)
    assert [member.suspect for member in one.members(0.8 * TIMEOUT_S)] == [False, True, False]
    one.heard("n2", 1, beat("n2", 2), 0.8 * TIMEOUT_S)
    assert keep(one, "n3", until=TIMEOUT_S + 0.5)[-1].suspicions == ()


def test_a_member_is_unreachable_after_the_node_timeout_and_back_at_a_word() -> None:
    one = started("n2")
    assert levels([effect for _, effect in tick_until(one, TIMEOUT_S + 0.001, Note)]) == ["warning"]
    shown = one.members(TIMEOUT_S)[1]
    assert (shown.state, shown.silent_s, shown.suspect) == ("UNREACHABLE", TIMEOUT_S, True)
    assert one.record("n2") is not None
    assert levels([effect for _, effect in tick_until(one, 10 * TIMEOUT_S, Note)]) == [], "told once"
    effects = one.alive("n2", 1, 10 * TIMEOUT_S)
    assert levels(effects) == ["info"]
    assert of(Send, effects) == [Send("n2", Sync((one.own,), reply=True))], "much may have been missed"
    assert one.members(10 * TIMEOUT_S)[1].state == "ACTIVE"


@pytest.mark.parametrize("part", [0.0, 0.5, 0.999])
def test_within_the_node_timeout_a_member_is_reachable(part: float) -> None:
    one = started("n2")
    tick_until(one, part * TIMEOUT_S, Note)
    assert one.reachable("n2", part * TIMEOUT_S)


def test_what_others_hear_keeps_a_member_but_does_not_raise_it() -> None:
    one = started("n2", "n3")
    keep(one, "n3", until=0.7 * TIMEOUT_S)
    one.heard("n3", 1, Sync((record("n2", seq=2),), reply=False), 0.7 * TIMEOUT_S)
    keep(one, "n3", until=1.6 * TIMEOUT_S)
    assert one.reachable("n2", 1.6 * TIMEOUT_S)
    keep(one, "n3", until=1.8 * TIMEOUT_S)
    one.heard("n3", 1, Sync((record("n2", seq=3),), reply=False), 1.8 * TIMEOUT_S)
    assert not one.reachable("n2", 1.8 * TIMEOUT_S)


def test_a_repeated_fact_is_no_sign_of_life() -> None:
    one = started("n2", "n3")
    keep(one, "n3", until=0.7 * TIMEOUT_S)
    one.heard("n3", 1, Sync((record("n2"),), reply=False), 0.7 * TIMEOUT_S)
    keep(one, "n3", until=1.001 * TIMEOUT_S)
    assert not one.reachable("n2", 1.001 * TIMEOUT_S)


# -- refutation --------------------------------------------------------------------------------------------


def accuse(one: Membership, incarnation: int, now: float, seq: int = 2) -> list[Heartbeat | Sync]:
    heartbeat = Heartbeat(record("n2", seq=seq), (Suspicion(one.node, incarnation),))
    effects = one.heard("n2", 1, heartbeat, now)
    return [*said(Heartbeat, effects), *said(Sync, effects)]


def test_a_suspicion_of_us_is_refuted_at_once_by_a_newer_version_on_both_ways() -> None:
    one = started("n2", incarnation=4)
    before = one.own
    published, sent = accuse(one, 4, 0.5)
    assert isinstance(published, Heartbeat)
    assert published.record == one.own
    assert (one.own.incarnation, one.own.seq) == (4, before.seq + 1)
    assert sent == Sync((one.own,), reply=False)


def test_refutations_are_published_at_most_twice_a_heartbeat() -> None:
    one = started("n2")
    told = [accuse(one, 1, 0.01 * n, seq=2 + n) for n in range(50)]
    assert sum(isinstance(message, Heartbeat) for messages in told for message in messages) == 1
    again = accuse(one, 1, HEARTBEAT_S / 2, seq=60)
    assert any(isinstance(message, Heartbeat) for message in again)


def test_a_suspicion_of_an_earlier_run_is_answered_without_a_new_version() -> None:
    one = started("n2", incarnation=4)
    assert accuse(one, 3, 0.5) == [Sync((one.own,), reply=False)]
    assert (one.incarnation, one.own.seq) == (4, 1)


def test_a_suspicion_of_a_later_run_is_jumped_past() -> None:
    one = started("n2", incarnation=4)
    published = accuse(one, 9, 0.5)[0]
    assert isinstance(published, Heartbeat)
    assert published.record.incarnation == one.incarnation == 10


# -- our own slowness -----------------------------------------------------------------------------------------


def test_strain_widens_our_patience_to_its_cap_and_is_shown() -> None:
    one = started("n2")
    tick_until(one, 0.9 * TIMEOUT_S, Note)
    for _ in range(9):
        one.strain(1.0, 0.9 * TIMEOUT_S)
    tick_until(one, 1.5 * TIMEOUT_S, Publish)
    assert one.reachable("n2", 1.5 * TIMEOUT_S)
    assert 0 < one.own.strain <= 7
    while (now := one.next_deadline()) <= 4 * TIMEOUT_S:
        one.strain(1.0, now)
        one.tick(now)
        assert one.reachable("n2", now) is (now < WIDEN_MAX * TIMEOUT_S)
    assert one.members(4 * TIMEOUT_S)[1].state == "UNREACHABLE"


def test_after_a_standstill_of_our_own_nobody_is_blamed() -> None:
    one = started("n2", "n3")
    keep(one, "n3", until=1.5 * TIMEOUT_S)
    assert [one.reachable(node, 1.5 * TIMEOUT_S) for node in ("n2", "n3")] == [False, True]
    late = 50 * TIMEOUT_S
    assert one.reachable("n3", late), "a view before the first event blames nobody either"
    effects = one.tick(late)
    assert levels(effects) == ["warning"]
    assert [one.reachable(node, late) for node in ("n2", "n3")] == [False, True], "who was gone stays gone"
    keep(one, until=late + 0.9 * TIMEOUT_S)
    assert one.reachable("n3", late + 0.9 * TIMEOUT_S)
    keep(one, until=late + 1.1 * TIMEOUT_S)
    assert not one.reachable("n3", late + 1.1 * TIMEOUT_S)


def test_a_message_before_the_late_tick_finds_the_standstill_too_and_once() -> None:
    one = started("n2", "n3")
    late = 20 * TIMEOUT_S
    assert levels(one.alive("n2", 1, late)) == ["warning"]
    assert levels(one.alive("n2", 1, late)) == []
    assert levels(one.tick(late)) == []
    assert one.reachable("n3", late)


def test_a_tick_that_is_a_little_late_excuses_nobody() -> None:
    one = started("n2")
    one.tick(TIMEOUT_S / 2 + 0.8 * HEARTBEAT_S)
    one.tick(TIMEOUT_S + 0.001)
    assert not one.reachable("n2", TIMEOUT_S + 0.001)


def test_another_word_a_moment_later_is_news_only_of_who_was_suspected_or_asked_to_help() -> None:
    one = started("n2", "n3")
    soon = SPOKE_S / 4
    one.alive("n2", 1, soon)
    assert one.members(1.0)[1].silent_s == pytest.approx(1.0)
    one.heard("n3", 1, Heartbeat(record("n3", 1, 2), (Suspicion("n2", 1),)), 2 * soon)
    one.alive("n2", 1, 3 * soon)
    assert one.members(1.0)[1].silent_s == pytest.approx(1.0 - 3 * soon)
    one.alive("n2", 2, 3.5 * soon)
    assert one.members(1.0)[1].silent_s == pytest.approx(1.0 - 3.5 * soon), "another run"
    assert probes(one, one.next_deadline()) == []
    keep(one, "n3", until=TIMEOUT_S / 2 - 0.001)
    now = TIMEOUT_S / 2 + 3.5 * soon
    one.alive("n3", 1, now)
    [(helper, _)] = probes(one, now)
    one.alive(helper, 1, now + soon)
    assert one.members(now + 1.0)[2].silent_s == pytest.approx(1.0 - soon), "who helps is heard at once"
