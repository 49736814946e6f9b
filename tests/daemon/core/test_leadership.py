"""What a leader concludes from its followers' answers: matches, rounds, who counts, who is there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mltb_transport.messages import AppendAnswer
from mltbd.core.leadership import CONFIRMATIONS_MAX, PEERS_MAX, Leadership, Progress
from tests.daemon.core.core_kit import THREE, store

SILENCE_S = 1.0


def reign(*followers: str, voters: tuple[str, ...] = THREE, quorum_size: int = 0, next_index: int = 11) -> Leadership:
    """n1 leads since 100.0 and replicates to these."""
    led = Leadership("n1", {voter: store(voter) for voter in voters}, quorum_size, 0.5, 100.0)
    led.peers = {node: Progress(next_index) for node in followers or voters[1:]}
    return led


def answer(round_: int = 0, *, ok: bool = True, index: int = 10, disk: str = "") -> AppendAnswer:
    return AppendAnswer(3, round_, ok, index, disk, ("main",))


def heard(led: Leadership, node: str, round_: int = 0, *, now: float = 100.5, **changes: Any) -> Progress:
    fields: dict[str, Any] = {"disk": store(node)} | changes
    found = led.heard(node, answer(round_, **fields), now, SILENCE_S)
    assert found is not None
    return found


def test_whoever_is_gone_leaves_its_place_when_it_is_needed() -> None:
    """One name a day, say, each on a machine of its own that never comes back."""
    led = reign("n2", "n3")
    for number in range(2 * PEERS_MAX):
        led.replicate_to([f"pod-{number}"], 20)
        assert f"pod-{number}" in led.peers
        assert len(led.peers) <= PEERS_MAX
    assert {"n2", "n3"} < set(led.peers)
    assert led.peers["n2"].next_index == 11, "voters stay as they are"
    led.replicate_to([f"pod-{number}" for number in range(2 * PEERS_MAX)], 20)
    assert len(led.peers) == PEERS_MAX


# -- progress ------------------------------------------------------------------------------------------------------


def test_a_stranger_is_not_heard() -> None:
    assert reign().heard("n9", answer(1), 100.5, SILENCE_S) is None


def test_an_answer_says_who_and_how_far() -> None:
    peer = heard(reign(), "n2", index=7)
    assert (peer.match_index, peer.next_index, peer.store, peer.ready) == (7, 11, "disk-n2", ("main",))


@pytest.mark.parametrize(
    ("ok", "index", "matched", "following"),
    [
        (True, 12, 12, 13),  # further than we thought
        (True, 5, 8, 11),  # a late answer takes nothing back
        (False, 10, 8, 10),  # try earlier
        (False, 3, 8, 9),  # never before what is known to match
        (False, 99, 8, 11),  # a late refusal moves nothing ahead
    ],
)
def test_matches_only_grow_and_refusals_go_back_no_further(ok: bool, index: int, matched: int, following: int) -> None:
    led = reign()
    heard(led, "n2", index=8)
    peer = heard(led, "n2", ok=ok, index=index)
    assert (peer.match_index, peer.next_index) == (matched, following)


def test_reachable_since_begins_anew_after_a_silence() -> None:
    led = reign()
    assert [heard(led, "n2", now=now).since for now in (100.2, 100.9, 101.9, 102.95, 103.0)] == [
        100.2, 100.2, 100.2, 102.95, 102.95,
    ]  # fmt: skip


def test_who_lacks_what_is_older_than_a_rest_is_slow() -> None:
    led = reign()
    heard(led, "n2", now=100.0, index=7)
    for now, last_index, slow in ((100.0, 7, False), (100.1, 8, False), (100.25, 9, False), (100.5, 10, True)):
        led.begin_round(now, last_index)
        assert led.is_slow("n2") is slow
    heard(led, "n2", now=100.5, index=9)
    assert not led.is_slow("n2"), "of the last REST_S it may lack something"


def test_alive_are_those_who_answered_lately() -> None:
    led = reign("n2", "n3", "n4")
    heard(led, "n3", now=100.0)
    heard(led, "n2", now=100.6)
    assert led.alive(101.0, SILENCE_S) == ("n1", "n2", "n3")
    assert led.alive(101.1, SILENCE_S) == ("n1", "n2")


def test_who_writes_nothing_acknowledges_rounds_but_nothing_can_be_left_to_it() -> None:
    led = reign()
    led.begin_round(100.5, 9)
    peer = heard(led, "n2", 1, now=100.5, index=7)
    assert (peer.acked_at, peer.acked_round) == (100.5, 1), "what it has on disk is news"
    led.begin_round(101.0, 9)
    peer = heard(led, "n2", 2, now=101.0, index=7)
    assert (peer.acked_at, peer.acked_round) == (100.5, 2)
    assert heard(led, "n2", 2, now=101.1, index=8).acked_at == 101.1, "it is only slow"
    assert heard(led, "n2", 2, now=101.2, index=8, ok=False).acked_at == 101.2, "it lacks what it was never sent"
    assert heard(led, "n2", 2, now=101.3, index=10).acked_at == 101.3, "the whole"


# -- who counts ----------------------------------------------------------------------------------------------------


def test_a_voter_counts_with_its_own_disk_alone() -> None:
    led = reign("n2", "n3", "n4")
    assert not led.counts("n2")  # never heard
    heard(led, "n2")
    heard(led, "n3", disk="wiped")
    heard(led, "n4")
    assert [led.counts(node) for node in ("n1", "n2", "n3", "n4", "n9")] == [False, True, False, False, False]


@pytest.mark.parametrize(
    ("matches", "durable", "agreed"),
    [
        ({}, 10, 0),  # alone we hold nothing
        ({"n2": 8}, 10, 8),
        ({"n2": 8, "n3": 9}, 10, 9),
        ({"n2": 8, "n3": 9}, 3, 8),  # our own disk is slow: theirs are enough
        ({"n2": 8, "n3": 9}, 0, 8),
        ({"n4": 9}, 10, 0),  # an observer
    ],
)
def test_agreed_index(matches: dict[str, int], durable: int, agreed: int) -> None:
    led = reign("n2", "n3", "n4")
    for node, index in matches.items():
        heard(led, node, index=index)
    assert led.agreed_index(durable) == agreed


def test_a_wiped_disk_agrees_to_nothing() -> None:
    led = reign()
    heard(led, "n2", index=8)
    assert led.agreed_index(10) == 8
    heard(led, "n2", ok=False, index=1, disk="wiped")
    assert led.agreed_index(10) == 0


def test_another_disk_is_sent_everything_again() -> None:
    led = reign()
    heard(led, "n2", index=8)
    peer = heard(led, "n2", ok=False, index=1, disk="wiped")
    assert (peer.match_index, peer.next_index) == (0, 1)


def test_a_larger_quorum_agrees_later() -> None:
    led = reign(quorum_size=3)
    heard(led, "n3", index=9)
    assert led.agreed_index(10) == 0
    heard(led, "n2", index=8)
    assert led.agreed_index(10) == 8


# -- rounds --------------------------------------------------------------------------------------------------------


def test_a_round_is_confirmed_by_a_quorum() -> None:
    led = reign()
    led.begin_round(101.0, 9)
    led.begin_round(102.0, 9)
    assert led.confirmed() == []
    assert (led.confirmed_round, led.confirmed_at) == (0, 100.0)
    heard(led, "n2", 1)
    led.confirmed()
    assert (led.confirmed_round, led.confirmed_at) == (1, 101.0)  # when it began, not when the answer came
    heard(led, "n3", 2)
    led.confirmed()
    assert (led.confirmed_round, led.confirmed_at) == (2, 102.0)


def test_an_answer_to_a_later_round_confirms_the_earlier_ones_too() -> None:
    led = reign()
    for now in (101.0, 102.0, 103.0):
        led.begin_round(now, 9)
    heard(led, "n2", 3)
    led.confirmed()
    assert (led.confirmed_round, led.confirmed_at) == (3, 103.0)
    heard(led, "n2", 1)
    led.confirmed()
    assert led.confirmed_round == 3


def test_a_round_that_has_not_begun_is_not_acknowledged() -> None:
    led = reign()
    led.begin_round(101.0, 9)
    assert heard(led, "n2", 99).acked_round == 1
    led.confirm("later")
    led.begin_round(102.0, 9)
    assert led.confirmed() == []


def test_only_a_round_that_begins_after_the_request_confirms_it() -> None:
    led = reign()
    led.begin_round(101.0, 9)
    assert led.confirm("tag")
    heard(led, "n2", 1)
    assert led.confirmed() == []
    led.begin_round(102.0, 9)
    heard(led, "n3", 1)
    assert led.confirmed() == []
    heard(led, "n2", 2)
    assert led.confirmed() == ["tag"]
    assert led.confirmed() == []  # told once


def test_requests_come_back_in_order_and_together() -> None:
    led = reign()
    led.confirm("a")
    led.begin_round(101.0, 9)
    led.confirm("b")
    led.confirm("c")
    led.begin_round(102.0, 9)
    heard(led, "n2", 1)
    assert led.confirmed() == ["a"]
    heard(led, "n2", 2)
    assert led.confirmed() == ["b", "c"]


def test_a_wiped_voter_and_an_observer_confirm_nothing() -> None:
    led = reign("n2", "n4")
    led.confirm("tag")
    led.begin_round(101.0, 9)
    heard(led, "n2", 1, disk="wiped")
    heard(led, "n4", 1)
    assert led.confirmed() == []
    heard(led, "n2", 1)
    assert led.confirmed() == ["tag"]


def test_a_wiped_voter_and_an_observer_are_not_chosen_for_a_stream() -> None:
    led = reign("n2", "n3", "n4")
    for node, disk in (("n2", "wiped"), ("n3", "disk-n3"), ("n4", "disk-n4")):
        heard(led, node, disk=disk)
    rivals = {"n2": 3, "n3": 1, "n4": 2}
    assert led.chosen(101.0, lambda _: rivals) is None, "a lone command goes to all"
    assert led.chosen(101.001, lambda _: rivals) == frozenset({"n3"})


def test_a_lonely_voter_confirms_itself() -> None:
    led = reign(voters=("n1",))
    led.confirm("tag")
    assert led.confirmed() == []
    led.begin_round(101.0, 9)
    assert led.confirmed() == ["tag"]


def test_waiting_requests_have_a_limit() -> None:
    led = reign()
    assert all(led.confirm(number) for number in range(CONFIRMATIONS_MAX))
    assert not led.confirm("one too many")
    led.begin_round(101.0, 9)
    heard(led, "n2", 1)
    assert led.confirmed() == list(range(CONFIRMATIONS_MAX))
    assert led.confirm("room again")


# -- what they could run -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n3", "now", "all_told"),
    [
        (None, 100.9, False),  # silent so far
        (False, 100.9, False),  # there, and does not know yet
        (True, 100.9, True),
        (False, 101.1, True),  # it had time to
    ],
)
def test_all_have_told_once_every_voter_knew_or_had_time_to(*, n3: bool | None, now: float, all_told: bool) -> None:
    led = reign()
    heard(led, "n2")
    if n3 is not None:
        led.heard("n3", replace(answer(), told=n3, ready=("main",) if n3 else ()), 100.5, SILENCE_S)
    assert led.all_told(now, SILENCE_S) is all_told


def test_a_voter_that_fell_silent_again_has_not_told() -> None:
    led = reign()
    led.won_at = 101.0
    heard(led, "n2")
    heard(led, "n3", now=101.4)
    assert led.all_told(101.4, SILENCE_S)
    assert not led.all_told(101.6, SILENCE_S)
