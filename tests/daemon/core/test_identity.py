"""Claims to our name, and meetings with other clusters."""

from __future__ import annotations

from mltb_transport.messages import Heartbeat, Ping, Suspicion, Sync
from mltbd.core.effects import Contact, Link, Note
from mltbd.core.identity import FOREIGN_MAX, JUMPS_MAX
from mltbd.core.membership import Membership
from mltbd.core.senders import LEAP_MAX
from tests.daemon.core.membership_kit import beat, check, levels, membership, of, record, said, started


def told(one: Membership, incarnation: int, seq: int = 1, store: str = "disk-old") -> list[str]:
    """n2 says that it knows n1 like this; the levels of the notes, and `publish` for each publication."""
    claim = record("n1", incarnation, seq, store=store)
    effects = one.heard("n2", 1, Sync((claim,), reply=False), 0.5)
    return levels(effects) + ["publish"] * len(said(Heartbeat, effects))


def test_our_own_frames_that_come_back_mean_nothing() -> None:
    one = started("n2")
    assert one.heard("n1", 1, Sync((one.own,), reply=True), 0.1) == []
    assert one.heard("n1", 1, Heartbeat(one.own, ()), 0.1) == []
    assert one.heard("n1", 1, Ping(3), 0.1) == []
    assert one.alive("n1", 1, 0.1) == []
    assert one.counters["duplicate_id"] == 0


def test_what_we_were_in_an_earlier_run_means_nothing() -> None:
    one = started("n2", incarnation=5)
    assert told(one, 4, 900, store="disk-n1") == []
    assert told(one, 4, 900, store="disk-old") == []
    assert told(one, 5, 1, store="disk-n1") == []
    assert (one.incarnation, one.counters["duplicate_id"]) == (5, 0)


def test_a_disk_put_back_jumps_past_what_others_remember() -> None:
    one = started("n2", incarnation=5)
    assert told(one, 8, store="disk-n1") == ["warning", "publish"]
    assert one.incarnation == 9
    assert told(one, 9, 900, store="disk-n1") == ["publish"], "the same number: a newer seq is enough"
    assert (one.incarnation, one.own.seq) == (9, 901)


def test_nobody_talks_us_into_a_number_from_which_we_could_not_count_on() -> None:
    last = 2**63 - 1
    one = started("n2", incarnation=5)
    assert told(one, last, store="disk-n1") == []
    assert told(one, 5, last, store="disk-n1") == []
    assert told(one, 6 + LEAP_MAX) == []
    effects = one.heard("n2", 1, Heartbeat(record("n2", 9), (Suspicion("n1", last),)), 0.5)
    assert levels(effects) == []
    assert (one.incarnation, one.own.seq < 9) == (5, True)


def test_a_wiped_disk_jumps_past_what_others_remember_of_the_old_one() -> None:
    one = started("n2")
    assert told(one, 7) == ["warning", "publish"]
    assert one.incarnation == 8
    assert told(one, 7) == []
    other = membership("n2")
    other.start(0.0)
    other.heard("n1", 7, beat("n1", 500, 7, store="disk-old"), 0.1)
    other.heard("n1", 8, Heartbeat(one.own, ()), 0.2)
    assert other.record("n1") == one.own


def test_who_answers_each_jump_is_alive_and_reported_once() -> None:
    one = started("n2")
    for _ in range(JUMPS_MAX):
        assert told(one, one.incarnation + 1) == ["warning", "publish"]
    last = one.incarnation
    assert told(one, last + 1) == ["error"]
    assert told(one, last + 2) == []
    assert one.incarnation == last
    assert one.counters["duplicate_id"] == JUMPS_MAX + 2
    assert [member.record.node for member in one.members(0.5)] == ["n1", "n2"]


def test_a_node_that_speaks_in_our_name_is_reported_at_once_on_both_sides_and_never_merged() -> None:
    one, two = started(), membership("n1", store="disk-b", address="10.0.0.9", incarnation=3)
    two.start(0.0)
    effects = one.heard("n1", 3, Sync((two.own,), reply=True), 0.1)
    assert levels(effects) == ["error"]
    assert of(Contact, effects) == [Contact("10.0.0.9:7946", Sync((one.own,), reply=False))]
    assert of(Link, effects) == []
    assert one.heard("n1", 3, Heartbeat(two.own, ()), 0.2) == []
    assert (one.counters["duplicate_id"], one.incarnation) == (2, 1)
    assert levels(two.heard("n1", 1, Sync((one.own,), reply=False), 0.2)) == ["error"]
    assert [member.record for member in one.members(0.2)] == [one.own]


# -- other clusters ---------------------------------------------------------------------------------------------


def test_two_clusters_refuse_each_other_and_say_so_once() -> None:
    one = started("n2", cluster="cluster-a")
    stranger = record("n3", cluster="cluster-b")
    effects = one.heard("n3", 1, Sync((stranger,), reply=True), 0.1)
    assert levels(effects) == ["warning"]
    text = of(Note, effects)[0].text
    assert "cluster-a" in text
    assert "cluster-b" in text
    assert of(Contact, effects) == [Contact("10.0.0.3:7946", Sync((one.own,), reply=False))]
    assert one.heard("n3", 1, Heartbeat(stranger, ()), 0.2) == []
    assert one.record("n3") is None
    assert one.counters["foreign"] == 2


def test_a_node_without_a_cluster_is_welcome() -> None:
    one = started(cluster="cluster-a")
    one.heard("n2", 1, beat("n2", 1), 0.1)
    assert one.reachable("n2", 0.1)


def test_the_same_id_in_another_cluster_is_another_node() -> None:
    one = started("n2", cluster="cluster-a")
    theirs = record("n2", 9, 9, store="disk-x", cluster="cluster-b")
    own_name = record("n1", 9, 9, store="disk-y", cluster="cluster-b")
    one.heard("n2", 9, Sync((theirs, own_name), reply=False), 0.2)
    assert one.record("n2") == record("n2")
    assert (one.incarnation, one.counters["duplicate_id"]) == (1, 0)


def test_a_member_that_joins_another_cluster_is_no_member_any_more() -> None:
    one = started("n2", cluster="cluster-a")
    one.heard("n2", 1, beat("n2", 2, cluster="cluster-b"), 0.2)
    assert one.record("n2") is None
    check(one)


def test_who_is_of_another_cluster_leaves_when_ours_is_founded() -> None:
    one = started()
    one.heard("n2", 1, beat("n2", 1, cluster="cluster-a"), 0.1)
    one.heard("n3", 1, beat("n3", 1, cluster="cluster-b"), 0.1)
    assert len(one.members(0.1)) == 3
    effects = one.update_own(0.2, cluster="cluster-a")
    assert levels(effects) == ["warning"]
    assert [member.record.node for member in one.members(0.2)] == ["n1", "n2"]
    check(one)


def test_the_clusters_reported_by_name_are_bounded() -> None:
    one = started(cluster="cluster-a")
    notes = []
    for number in range(FOREIGN_MAX + 5):
        stranger = record("n2", cluster=f"cluster-b{number}")
        notes += of(Note, one.heard("n2", 1, Heartbeat(stranger, ()), 0.1))
    assert len(notes) == FOREIGN_MAX
    assert one.counters["foreign"] == FOREIGN_MAX + 5
