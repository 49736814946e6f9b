"""When a cluster is founded, by whom and with whom; and that nobody who knows one founds another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mltb_transport.messages import Entry, Found, Founded, Founding, NoOp
from mltb_transport.records import Record
from mltb_transport.voters import Voter
from mltbd.core.effects import Send
from mltbd.core.founding import (
    ASK_AGAIN_S,
    PATIENCE_S,
    Founder,
    FoundingDesk,
    FoundingWatch,
    level_for,
    voters_of,
)
from mltbd.core.level_rules import Speaks
from mltbd.core.voter_rules import VOTERS_MAX
from tests.daemon.core.core_kit import THREE, WALL, Member, founding, saves, sent
from tests.daemon.core.membership_kit import record

INF = float("inf")


def records(*names: str) -> list[Record]:
    return [record(name) for name in names]


def watch(designated: bool = True, min_nodes: int = 3, expected: int = 3, **changes: Any) -> FoundingWatch:
    me = record("n1", founder=designated, **changes)
    return FoundingWatch(me, Founder(designated, min_nodes, expected))


# -- the first voters ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("present", "voters"), [(1, 1), (2, 2), (3, 3), (4, 3), (5, 5), (6, 5), (7, 7), (9, 7)])
def test_an_odd_number_of_voters_or_two(present: int, voters: int) -> None:
    chosen = voters_of("n1", records(*[f"n{number}" for number in range(1, present + 1)]))
    assert chosen == tuple(Voter(f"n{number}", f"disk-n{number}") for number in range(1, voters + 1))
    assert len(chosen) <= VOTERS_MAX


def test_the_founder_and_the_highest_ranked_vote() -> None:
    present = [record("n1", priority=1), record("n2", priority=2), record("n3", priority=9), record("n4", priority=9)]
    assert [voter.node for voter in voters_of("n1", present)] == ["n1", "n3", "n4"]


def test_observers_do_not_vote_and_witnesses_do() -> None:
    present = [record("n1"), record("n2", role="observer", priority=999), record("n3", role="witness")]
    assert [voter.node for voter in voters_of("n1", present)] == ["n1", "n3"]


@pytest.mark.parametrize(
    ("ours", "oldest", "level"),
    [(Speaks(1, 2), (1, 1), 1), (Speaks(1, 2), (1, 2), 2), (Speaks(2, 3), (1,), 2), (Speaks(1, 2), (3,), 2)],
)
def test_it_begins_at_the_lowest_level_that_all_speak(ours: Speaks, oldest: tuple[int, ...], level: int) -> None:
    assert level_for([record(f"n{place}", oldest=each) for place, each in enumerate(oldest)], ours) == level


# -- the moment ----------------------------------------------------------------------------------------------------


def test_the_founder_founds_once_all_it_was_told_of_are_there() -> None:
    one = watch()
    assert not one.ripe(records("n1", "n2"), 0.0)
    assert one.ripe(records("n1", "n2", "n3"), 100.0)


def test_with_enough_nodes_it_waits_for_the_rest_of_its_seeds_but_not_for_ever() -> None:
    one = watch(min_nodes=2, expected=3)
    present = records("n1", "n2")
    assert not one.ripe(present, 10.0)
    assert not one.ripe(present, 10.0 + PATIENCE_S - 0.01)
    assert one.ripe(present, 10.0 + PATIENCE_S)


def test_the_patience_begins_anew_when_one_is_lost() -> None:
    one = watch(min_nodes=2, expected=3)
    assert not one.ripe(records("n1", "n2"), 10.0)
    assert not one.ripe(records("n1"), 12.0)
    assert not one.ripe(records("n1", "n2"), 10.0 + PATIENCE_S)
    assert one.ripe(records("n1", "n2"), 10.0 + 2 * PATIENCE_S)


def test_a_node_that_was_not_designated_never_founds() -> None:
    one = watch(designated=False)
    assert not one.designated
    assert not one.ripe(records(*THREE), 0.0)
    assert not one.ripe(records(*THREE), 1e6)


def test_nobody_founds_where_a_cluster_is_known() -> None:
    present = [*records("n1", "n2"), record("n3", cluster="c0")]
    assert not watch().ripe(present, 0.0)
    assert not watch().ripe([record("n1", cluster="c0"), *records("n2", "n3")], 0.0)


def test_observers_are_not_among_the_nodes_needed() -> None:
    present = [*records("n1", "n2"), record("n3", role="observer"), record("n4", role="observer")]
    assert not watch(min_nodes=3).ripe(present, 0.0)
    assert watch(min_nodes=2).ripe(present, 0.0)


@pytest.mark.parametrize(
    ("rival", "founds"),
    [({"priority": 101}, False), ({"priority": 100}, True), ({"priority": 101, "role": "observer"}, True)],
)
def test_of_several_founders_the_first_founds(rival: dict[str, Any], founds: bool) -> None:
    present = [record("n1", founder=True), record("n2", founder=True, **rival), record("n3"), record("n4")]
    assert watch(min_nodes=3).ripe(present, 0.0) is founds


def test_the_lower_id_founds_among_equals() -> None:
    present = [record("n0", founder=True), record("n1", founder=True), record("n2")]
    assert not watch().ripe(present, 0.0)


def test_a_development_node_founds_alone_at_once() -> None:
    assert watch(min_nodes=0, expected=1).ripe(records("n1"), 0.0)


def test_an_operator_is_told_what_is_missing() -> None:
    assert watch().why_not([*records("n1"), record("n2", role="observer")]) == "waiting for nodes: 1 of 3 have met"
    assert "CLUSTER_BOOTSTRAP=True" in watch(designated=False).why_not(records("n1"))
    met = [*records("n1"), record("n3", cluster="c1"), record("n2", cluster="c1")]
    assert watch(designated=False).why_not(met) == "waiting for the leader of the cluster of n2 n3"


# -- the desk ------------------------------------------------------------------------------------------------------


class Desk:
    """A founding desk, the consensus behind it, and a disk that the test keeps."""

    def __init__(self, node: str = "n1", designated: bool = True, *, founded: bool = False) -> None:
        self.member = Member(node) if founded else Member(node, log=(), term=0)
        one = FoundingWatch(record(node, founder=designated), Founder(designated, 3, 3))
        self.desk = FoundingDesk(one, self.member.consensus, self.member.out, "c1", "mltb")

    def asks(self) -> list[tuple[str, Found]]:
        return sent(Found, self.member.out.take())


def test_the_founder_writes_its_entry_first_and_tells_the_voters_when_it_is_durable() -> None:
    one = Desk()
    assert one.desk.next_deadline() == INF
    one.desk.start(5.0)
    assert one.desk.next_deadline() == 5.0
    one.desk.tick(records(*THREE), 5.0, WALL)
    effects = one.member.out.take()
    assert [save.entries for save in saves(effects)] == [(founding(*THREE),)]
    assert sent(Found, effects) == []
    assert sent(Found, one.member.save()) == [("n2", Found(founding(*THREE))), ("n3", Found(founding(*THREE)))]


def test_a_founding_that_names_an_earlier_disk_of_ours_is_of_the_past() -> None:
    one = Desk("n2", designated=False)
    named = founding(*THREE)
    assert isinstance(named.command, Founding)
    earlier = tuple(replace(voter, store=f"{voter.store}-before") for voter in named.command.voters)
    one.desk.asked_to_join("n1", replace(named, command=replace(named.command, voters=earlier)))
    assert one.member.consensus.log.last_index == 0
    one.desk.asked_to_join("n1", named)
    assert one.member.consensus.log.last_index == 1


def test_the_voters_are_asked_again_until_each_has_it_on_disk() -> None:
    one = Desk(founded=True)
    one.desk.start(0.0)
    asked = []
    for now, confirms in [(0.0, ""), (ASK_AGAIN_S, "n3"), (2 * ASK_AGAIN_S, "n2")]:
        assert one.desk.next_deadline() == pytest.approx(now)
        one.desk.tick(records("n1"), now, WALL)
        asked.append([node for node, _ in one.asks()])
        if confirms:
            one.desk.joined(confirms, "c1")
    assert asked == [["n2", "n3"], ["n2", "n3"], ["n2"]]
    one.desk.tick(records("n1"), 3 * ASK_AGAIN_S, WALL)
    assert (one.asks(), one.desk.next_deadline()) == ([], INF)


def test_who_joined_another_cluster_has_not_joined_ours() -> None:
    one = Desk(founded=True)
    one.desk.start(0.0)
    one.desk.joined("n2", "c0")
    one.desk.tick(records("n1"), 0.0, WALL)
    assert [node for node, _ in one.asks()] == ["n2", "n3"]


def test_once_a_leader_has_committed_the_spreading_ends() -> None:
    one = Desk(founded=True)
    one.desk.start(0.0)
    one.member.consensus.commit = 1
    one.desk.tick(records("n1"), 0.0, WALL)
    assert (one.asks(), one.desk.next_deadline()) == ([], INF)


def test_a_founder_that_must_wait_looks_again() -> None:
    one = Desk()
    one.desk.start(0.0)
    one.desk.tick(records("n1"), 0.0, WALL)
    assert (one.member.out.take(), one.desk.next_deadline()) == ([], ASK_AGAIN_S)


def test_who_is_not_designated_has_nothing_to_do() -> None:
    one = Desk(designated=False)
    one.desk.start(0.0)
    assert one.desk.next_deadline() == INF


def test_an_empty_node_takes_the_entry_and_says_so_when_it_is_durable() -> None:
    one = Desk("n2", designated=False)
    entry = founding(*THREE)
    one.desk.asked_to_join("n1", entry)
    effects = one.member.out.take()
    assert [save.entries for save in saves(effects)] == [(entry,)]
    assert sent(Founded, effects) == []
    assert one.member.save() == [Send("n1", Founded("c1"))]
    assert one.member.consensus.is_voter


def test_the_same_entry_again_is_confirmed_again_and_another_never() -> None:
    one = Desk("n2", designated=False, founded=True)
    one.desk.asked_to_join("n1", founding(*THREE))
    assert one.member.out.take() == [Send("n1", Founded("c1"))]
    other = replace(founding(*THREE), command=Founding("c2", "mltb", ()))
    one.desk.asked_to_join("n1", other)
    assert one.member.out.take() == []
    assert one.member.consensus.log.cluster == "c1"


@pytest.mark.parametrize(
    "entry", [Entry(1, 1, WALL, NoOp()), Entry(2, 1, WALL, Founding("c1", "mltb", ()))], ids=["no founding", "index 2"]
)
def test_what_is_no_founding_entry_is_not_taken(entry: Entry) -> None:
    one = Desk("n2", designated=False)
    one.desk.asked_to_join("n1", entry)
    assert (one.member.out.take(), one.member.consensus.log.last_index) == ([], 0)


@pytest.mark.parametrize(("level", "taken"), [(1, True), (2, False)])
def test_a_cluster_that_begins_at_a_level_beyond_us_is_not_ours(level: int, taken: bool) -> None:
    one = Desk("n2", designated=False)
    named = founding(*THREE)
    assert isinstance(named.command, Founding)
    one.desk.asked_to_join("n1", replace(named, command=replace(named.command, level=level)))
    assert bool(one.member.consensus.log.last_index) is taken
