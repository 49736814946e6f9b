"""Who was removed is no member and is told so; another disk under an old name is another node."""

from __future__ import annotations

import pytest

from mltb_transport.messages import Sync
from mltb_transport.voters import Removed
from mltbd.core.effects import Contact
from mltbd.core.refusals import TOLD_AGAIN_S
from tests.daemon.core.membership_kit import TIMEOUT_S, beat, of, record, said, started, tick_until

OUT = ("n2", "disk-n2")


def test_a_removed_node_is_not_listed_and_is_told_but_not_all_the_time() -> None:
    one = started("n2", "n3", cluster="c1")
    one.refusals.become({OUT: 5})
    assert one.record("n2") is None
    told = one.heard("n2", 1, beat("n2", 9), 1.0)
    assert Contact("10.0.0.2:7946", Removed("c1", "n2", "disk-n2", 5)) in told
    assert one.record("n2") is None
    assert said(Removed, one.heard("n2", 1, beat("n2", 10), 1.0 + TOLD_AGAIN_S - 0.1)) == []
    assert len(said(Removed, one.heard("n2", 1, beat("n2", 11), 1.0 + TOLD_AGAIN_S))) == 1
    assert one.counters["removed"] == 3


def test_hearsay_of_a_removed_node_is_left_without_a_word() -> None:
    one = started("n2", "n3", cluster="c1")
    one.refusals.become({OUT: 5})
    effects = one.heard("n3", 1, Sync((record("n3"), record("n2", 5)), reply=False), 1.0)
    assert said(Removed, effects) == []
    assert one.record("n2") is None


def test_a_removed_node_that_is_admitted_is_heard_again() -> None:
    one = started("n2", cluster="c1")
    one.refusals.become({OUT: 5})
    one.heard("n2", 1, beat("n2", 9), 1.0)
    one.refusals.become({})
    one.heard("n2", 1, beat("n2", 10), 2.0)
    assert one.reachable("n2", 2.0)


def test_a_new_disk_of_a_removed_name_learns_how_far_the_old_one_came() -> None:
    one = started("n2", cluster="c1")
    one.heard("n2", 7, beat("n2", 3, 7), 0.5)
    one.refusals.become({OUT: 5})
    effects = one.heard("n2", 1, beat("n2", 1, store="new"), 1.0)
    assert of(Contact, effects) == [Contact("10.0.0.2:7946", Sync((record("n2", 7, 3),), reply=False))]
    assert one.record("n2") is None
    one.heard("n2", 8, beat("n2", 1, 8, store="new"), 1.1)
    assert one.reachable("n2", 1.1)


def test_who_left_is_told_the_same_when_it_comes_back_on_a_new_disk() -> None:
    one = started("n2", cluster="c1")
    one.heard("n2", 7, beat("n2", 3, 7, state="LEAVING"), 0.5)
    tick_until(one, 0.5 + 3 * TIMEOUT_S, Contact)
    assert one.record("n2") is None
    late = 0.5 + 3 * TIMEOUT_S
    assert of(Contact, one.heard("n2", 7, beat("n2", 3, 7, state="LEAVING"), late)) == []
    told = Sync((record("n2", 7, 3, state="LEAVING"),), reply=False)
    assert of(Contact, one.heard("n2", 1, beat("n2", 1, store="new"), late)) == [Contact("10.0.0.2:7946", told)]


@pytest.mark.parametrize(("incarnation", "seq"), [(2, 1), (7, 2)])
def test_who_left_is_told_how_far_it_came_when_its_disk_remembers_less(incarnation: int, seq: int) -> None:
    """Its disk was wiped once: it went on as 7, but its disk counts from there alone."""
    one = started("n2", cluster="c1")
    one.heard("n2", 7, beat("n2", 3, 7, state="LEAVING"), 0.5)
    tick_until(one, 0.5 + 3 * TIMEOUT_S, Contact)
    late = 0.5 + 3 * TIMEOUT_S
    told = Sync((record("n2", 7, 3, state="LEAVING"),), reply=False)
    assert of(Contact, one.heard("n2", incarnation, beat("n2", seq, incarnation), late)) == [
        Contact("10.0.0.2:7946", told)
    ]
    one.heard("n2", 8, beat("n2", 1, 8), late + 0.1)
    assert one.reachable("n2", late + 0.1)


def test_the_newcomer_goes_on_behind_its_predecessor() -> None:
    new = started(store="new")
    new.heard("n3", 1, Sync((record("n3"), record("n1", 7, 3)), reply=False), 1.0)
    assert new.incarnation == 8
