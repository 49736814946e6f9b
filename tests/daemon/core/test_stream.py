"""Who is sent clients' commands at once when they come thick and fast, and what becomes of the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from mltb_transport.messages import Append, NoOp
from mltbd.core.consensus import NEWS_S
from mltbd.core.effects import Send
from mltbd.core.events import Listen, Tick
from mltbd.core.stream import CHOOSE_S, LATE_S, SLOW_S, Stream
from tests.daemon.core.core_kit import WALL
from tests.daemon.core.desk_kit import Desk, put


@pytest.fixture
def desk() -> Desk:
    """Of two alike, the name decides: n2 is chosen."""
    return Desk()


def entries_to(desk: Desk, node: str) -> list[int]:
    """How many entries each message brought it."""
    appends = [s.message for s in desk.told("n1", Send) if s.to == node and isinstance(s.message, Append)]
    return [len(append.entries) for append in appends if append.entries]


def stream_of(desk: Desk, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        desk.submit("n1", put(f"c{number}"))


# -- in a cluster ----------------------------------------------------------------------------------------------------


def test_a_lone_command_goes_to_all(desk: Desk) -> None:
    for number in range(3):
        stream_of(desk, 1, number)
        desk.wired.run(LATE_S)
    assert entries_to(desk, "n2") == entries_to(desk, "n3") == [1, 1, 1]


def test_of_a_stream_a_quorum_has_each_command_and_others_a_few_together(desk: Desk) -> None:
    stream_of(desk, 5)
    assert len(desk.outcomes("n1")) == 5, "nobody waits for those who are left out"
    assert entries_to(desk, "n2") == [1, 1, 1, 1, 1]
    assert entries_to(desk, "n3") == [1]
    desk.wired.run(LATE_S)
    assert entries_to(desk, "n3") == [1, 4]
    desk.wired.run(NEWS_S)
    assert desk.wired.nodes["n3"].state.applied == desk.n1.state.applied


def test_a_stream_that_goes_on_takes_everybody_along(desk: Desk) -> None:
    for number in range(100):
        stream_of(desk, 1, number)
        desk.wired.run(LATE_S / 10)
        lag = desk.n1.consensus.log.last_index - desk.wired.nodes["n3"].consensus.log.last_index
        assert lag <= 12
    assert len(entries_to(desk, "n2")) == 100
    assert len(entries_to(desk, "n3")) <= 12


def test_an_entry_of_another_kind_goes_to_all_with_what_was_held_back(desk: Desk) -> None:
    stream_of(desk, 3)
    desk.n1.consensus.propose(NoOp(), desk.wired.now, WALL)
    desk.wired.feed("n1", Tick())
    assert entries_to(desk, "n3") == [1, 3]
    desk.wired.run(LATE_S)
    assert entries_to(desk, "n3") == [1, 3], "once"


def test_who_is_to_lead_next_is_chosen() -> None:
    desk = Desk(priorities={"n1": 30, "n2": 10, "n3": 20})
    stream_of(desk, 3)
    assert entries_to(desk, "n2") == [1]
    assert entries_to(desk, "n3") == [1, 1, 1]


def test_whose_clients_wait_is_left_out_of_nothing(desk: Desk) -> None:
    desk.wired.feed("n3", Listen(wanted=True))
    desk.wired.run(1.0)
    desk.seen = len(desk.wired.effects)
    stream_of(desk, 3)
    assert entries_to(desk, "n3") == [1, 1, 1]


@pytest.mark.parametrize(("quorum", "chosen"), [(0, 2), (3, 2), (4, 3)])
def test_so_many_are_chosen_as_make_a_quorum(quorum: int, chosen: int) -> None:
    desk = Desk("n1", "n2", "n3", "n4", "n5", quorum_size=quorum)
    stream_of(desk, 4)
    assert [len(entries_to(desk, f"n{number}")) for number in range(2, 6)] == [4] * chosen + [1] * (4 - chosen)
    assert len(desk.outcomes("n1")) == 4


def test_a_chosen_one_that_does_not_answer_costs_a_moment_once(desk: Desk) -> None:
    stream_of(desk, 1)
    desk.wired.cut |= {("n1", "n2")}
    stream_of(desk, 1, 1)
    assert len(desk.outcomes("n1")) == 1
    desk.wired.run(LATE_S)
    assert len(desk.outcomes("n1")) == 2
    stream_of(desk, 3, 2)
    assert len(desk.outcomes("n1")) == 5, "another is chosen"


def test_where_our_own_disk_is_slow_all_are_needed(desk: Desk) -> None:
    desk.wired.slow |= {"n1"}
    stream_of(desk, 1)
    assert desk.n1.consensus.durable < desk.n1.consensus.commit
    stream_of(desk, 1, 1)
    assert entries_to(desk, "n2") == entries_to(desk, "n3") == [1, 1]
    assert desk.n1.consensus.commit == desk.n1.consensus.log.last_index


def test_what_was_lost_on_the_way_is_sent_again(desk: Desk) -> None:
    stream_of(desk, 1)
    desk.wired.cut |= {("n1", "n3")}
    stream_of(desk, 2, 1)
    desk.wired.run(LATE_S)
    desk.wired.cut.clear()
    stream_of(desk, 2, 3)
    desk.wired.run(LATE_S)
    assert desk.wired.nodes["n3"].consensus.log.last_index == desk.n1.consensus.log.last_index


def test_leadership_changes_hands_in_the_middle_of_a_stream(desk: Desk) -> None:
    """Its target needs all of the log, and is one that was left out."""
    stream_of(desk, 3)
    assert not desk.n1.consensus.transfer("n3", desk.wired.now)
    desk.wired.run(LATE_S)
    assert desk.n1.consensus.transfer("n3", desk.wired.now)


# -- by itself -------------------------------------------------------------------------------------------------------


@dataclass
class Follower:
    match_index: int = 0


class Choice:
    """A stream with followers b, c and d of priorities 3, 2 and 1; two make a quorum with the leader."""

    def __init__(self) -> None:
        self.followers = {name: Follower() for name in "bcd"}
        self.able = {"b": 3, "c": 2, "d": 1}
        self.stream = Stream(self.followers)
        self.now = 100.0
        self.next()

    def next(self, after: float = 0.001) -> Any:
        """Who is chosen for the next command."""
        self.now += after
        chosen = self.stream.chosen(self.now, lambda: self.able, 2)
        return chosen and "".join(sorted(chosen))

    def held(self, index: int) -> None:
        """It was held back, and has been sent to all by now."""
        self.stream.hold(index, self.now)
        assert self.stream.settles(self.now + LATE_S)

    def answers(self, name: str, index: int) -> None:
        self.followers[name].match_index = index
        self.stream.answered(name)


def test_the_best_are_chosen_anew_now_and_then() -> None:
    choice = Choice()
    assert choice.next() == "bc"
    choice.able = {"d": 4, "c": 2, "b": 1}
    assert choice.next() == "bc"
    for _ in range(round(CHOOSE_S / LATE_S) + 2):
        last = choice.next(LATE_S * 0.99)
    assert last == "cd"


def test_with_too_few_to_choose_from_all_are_asked() -> None:
    choice = Choice()
    choice.able = {"b": 3}
    assert choice.next() is None


def test_a_voter_alone_needs_nobody() -> None:
    stream = Stream({})
    stream.chosen(1.0, dict, 0)
    assert stream.chosen(1.0, dict, 0) == frozenset()


def test_whoever_was_removed_is_chosen_no_more() -> None:
    choice = Choice()
    assert choice.next() == "bc"
    choice.held(7)
    del choice.followers["c"], choice.able["c"]
    choice.answers("b", 7)
    choice.answers("d", 7)
    assert choice.next() == "bd"


def test_who_is_overtaken_is_passed_over_for_a_while() -> None:
    choice = Choice()
    assert choice.next() == "bc"
    choice.held(7)
    choice.answers("b", 7)
    choice.answers("d", 7)
    assert choice.next() == "bd"
    for _ in range(round(SLOW_S / LATE_S) - 20):
        assert choice.next(LATE_S * 0.99) == "bd"
    for _ in range(round(CHOOSE_S / LATE_S) + 40):
        last = choice.next(LATE_S * 0.99)
    assert last == "bc"


def test_who_was_as_fast_is_not_overtaken() -> None:
    choice = Choice()
    choice.next()
    choice.held(7)
    choice.answers("c", 7)
    choice.answers("b", 8)
    choice.answers("d", 9)
    assert choice.next() == "bc"


def test_an_answer_about_older_entries_overtakes_nobody() -> None:
    choice = Choice()
    choice.next()
    choice.held(7)
    choice.answers("d", 6)
    assert choice.next() == "bc"


def test_only_what_was_held_back_waits_and_only_for_those_who_were_left_out() -> None:
    choice = Choice()
    choice.next()
    assert not choice.stream.holds("d", 7)
    choice.stream.hold(7, choice.now)
    choice.stream.hold(8, choice.now)
    assert choice.stream.holds("d", 7)
    assert not choice.stream.holds("d", 6)
    assert not choice.stream.holds("b", 7)
    assert not choice.stream.settles(choice.now + LATE_S / 2)
    assert choice.stream.settles(choice.now + LATE_S)
    assert not choice.stream.holds("d", 8)
