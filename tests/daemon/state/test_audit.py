"""The history that follows from the log: one event per change of place, its phases, its end, its limits."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltb_transport.history import Phase
from mltb_transport.messages import (
    Abandon,
    CancelFailback,
    Command,
    Entry,
    Founding,
    Grant,
    Move,
    NoOp,
    Release,
    Settled,
    Started,
)
from mltb_transport.voters import Voter
from mltbd.state.audit import EVENTS_MAX, PHASES_MAX, TEXT_CHARS_MAX, Audit, Event
from mltbd.state.machine import State
from tests.daemon.state.test_placements import commands

LOST = (Phase("detect", 1.0), Phase("lease", 2.0))


class Tale:
    """Commands applied from index 1 on, the first a founding; entry i was written at wall clock i * 1000."""

    def __init__(self, *told: Command) -> None:
        self.state = State()
        self.tell(Founding("c1", "bots", (Voter("n1", "d1"), Voter("n2", "d2"))))
        for command in told:
            self.tell(command)

    def tell(self, command: Command) -> int:
        index = self.state.applied + 1
        self.state.apply(Entry(index, 1, index * 1000, command))
        return index

    @property
    def events(self) -> list[Event]:
        return list(self.state.audit.events.values())

    @property
    def last(self) -> Event:
        return self.events[-1]


LED = NoOp("n1", "silence", ("n1", "n2"), (Phase("election", 0.2),))
PLACED = (LED, Grant("main", "n1", "placement"), Started("main", 3, 0.5))


def phases(event: Event) -> list[tuple[str, float]]:
    return [(phase.name, phase.seconds) for phase in event.phases]


def test_a_cluster_begins_with_its_founding() -> None:
    (event,) = Tale().events
    assert (event.id, event.kind, event.reason, event.votes) == (1, "founding", "bots", ("n1", "n2"))


def test_an_election_names_who_led_before_who_voted_and_how_long_it_took() -> None:
    tale = Tale(LED, NoOp("n2", "broken", ("n2", "n3"), LOST))
    first, second = tale.events[1:]
    assert (first.source, first.node, first.cause) == ("", "n1", "silence")
    assert (second.source, second.node, second.cause, second.votes) == ("n1", "n2", "broken", ("n2", "n3"))
    assert second.phases == LOST
    assert tale.state.audit.leader == "n2"


def test_a_no_op_without_a_story_is_no_event() -> None:
    assert [event.kind for event in Tale(NoOp()).events] == ["founding"]


def test_a_transfer_that_was_given_up_is_told() -> None:
    last = Tale(LED, NoOp(cause="transfer to n2 given up")).last
    assert (last.kind, last.node, last.state, last.error) == ("transfer", "n1", "failed", "transfer to n2 given up")


def test_a_placement_runs_until_the_workload_does() -> None:
    tale = Tale(LED, Grant("main", "n1", "placement", choice="it is the best"))
    assert (tale.last.state, tale.last.token, tale.last.by, tale.last.choice) == ("running", 3, "n1", "it is the best")
    tale.tell(Started("main", 3, 0.5))
    assert (tale.last.id, tale.last.state, tale.last.changed, tale.last.ended) == (3, "done", 4, 4000)
    assert phases(tale.last) == [("start", 0.5)]


def test_a_failover_names_the_lost_owner_and_adds_its_phases_up() -> None:
    tale = Tale(*PLACED, Grant("main", "n2", "failover", "n1 is lost", phases=LOST), Started("main", 5, 0.25))
    assert (tale.last.kind, tale.last.source, tale.last.node) == ("failover", "n1", "n2")
    assert phases(tale.last) == [("detect", 1.0), ("lease", 2.0), ("start", 0.25)]


def test_a_move_is_one_event_from_the_wish_to_the_start() -> None:
    tale = Tale(*PLACED, Move("main", 3, "n2", "switchover", "new disk", "ann@desk"))
    assert (tale.last.id, tale.last.state, tale.last.operator, tale.last.reason) == (
        5,
        "running",
        "ann@desk",
        "new disk",
    )
    tale.tell(Release("main", 3, "moved", 0.4))
    tale.tell(Grant("main", "n2", "switchover", phases=(Phase("grant", 0.1),)))
    tale.tell(Started("main", 7, 0.3))
    assert (tale.last.id, tale.last.state, tale.last.source, tale.last.node) == (5, "done", "n1", "n2")
    assert phases(tale.last) == [("stop", 0.4), ("grant", 0.1), ("start", 0.3)]
    assert len(tale.events) == 4  # founding, election, placement, switchover


def test_what_no_leader_measured_is_taken_from_the_wall_clocks() -> None:
    tale = Tale(*PLACED, Move("main", 3, "n2", "switchover"), Release("main", 3, "moved"))
    tale.tell(Grant("main", "n2", "switchover"))
    tale.tell(Started("main", 7))
    assert phases(tale.last) == [("stop", 1.0), ("grant", 1.0), ("start", 1.0)]


def test_a_wall_clock_that_went_back_makes_no_phase_negative() -> None:
    state = State()
    for index, wall, command in (
        (1, 9_000, Founding("c1", "bots", ())),
        (2, 9_000, Grant("main", "n1", "placement")),
        (3, 1_000, Started("main", 2)),
    ):
        state.apply(Entry(index, 1, wall, command))
    assert phases(state.audit.events[2]) == [("start", 0.0)]


def test_a_move_that_somebody_else_had_to_end_failed_and_a_rollback_follows() -> None:
    tale = Tale(*PLACED, Move("main", 3, "n2", "switchover"), Release("main", 3, "moved"))
    tale.tell(Grant("main", "n1", "rollback", "n2 became unable to take over"))
    move, rollback = tale.events[-2:]
    assert (move.kind, move.state) == ("switchover", "failed")
    assert "n1 took over instead" in move.error
    assert (rollback.kind, rollback.node, rollback.state) == ("rollback", "n1", "running")


def test_what_came_instead_of_a_move_counts_from_its_wish_on() -> None:
    tale = Tale(*PLACED, Move("main", 3, "n2", "switchover"), Release("main", 3, "moved", 0.4))
    tale.tell(Grant("main", "n1", "rollback", "n2 became unable to take over"))
    assert phases(tale.last) == [("stop", 0.4), ("grant", 1.0)]
    assert phases(tale.state.audit.events[5]) == [("stop", 0.4)]


TOGETHER = (Phase("detect", 1.0), Phase("election", 0.2), Phase("lease", 2.0))


@pytest.mark.parametrize(
    ("before", "opening"),
    [
        ((*PLACED, NoOp("n2", "silence")), "detect"),
        ((*PLACED[:-1], NoOp("n2", "silence")), "election"),  # It had not started it yet.
        ((LED, Grant("main", "n3", "placement"), Started("main", 3), NoOp("n2", "silence")), "election"),
        ((PLACED[1], Started("main", 2)), "election"),  # The history does not reach back to an election.
    ],
)
def test_a_lost_leader_was_seen_to_run_only_what_was_its_own_and_had_started(
    before: tuple[Command, ...], opening: str
) -> None:
    tale = Tale(*before, Grant("main", "n4", "failover", phases=TOGETHER))
    assert tale.last.phases[0].name == opening


def test_a_workload_that_had_not_started_is_not_stopped() -> None:
    tale = Tale(*PLACED[:-1], Move("main", 3, "n2", "switchover"), Release("main", 3, "moved", 0.4))
    tale.tell(Grant("main", "n2", "switchover", phases=(Phase("grant", 0.1),)))
    assert phases(tale.last) == [("grant", 0.1)]


def test_a_move_that_came_too_late_failed_at_once() -> None:
    last = Tale(*PLACED, Move("main", 2, "n2", "switchover")).last
    assert (last.state, last.error) == ("failed", "the placement changed before the move began")


def test_an_abandoned_move_says_why() -> None:
    last = Tale(*PLACED, Move("main", 3, "n2", "switchover"), Abandon("main", 5, "n1 did not stop")).last
    assert (last.id, last.state, last.error) == (5, "failed", "n1 did not stop")


def test_a_workload_that_was_given_back_is_an_event_and_what_follows_another() -> None:
    tale = Tale(*PLACED, Release("main", 3, "leaving"), Grant("main", "n2", "handover", "n1 leaves"))
    release, handover = tale.events[-2:]
    assert (release.kind, release.source, release.cause) == ("release", "n1", "leaving")
    assert (handover.kind, handover.source, handover.node) == ("handover", "n1", "n2")
    assert phases(handover) == [], "nobody says since when it was down"


@pytest.mark.parametrize(
    ("measured", "grant"), [((Phase("grant", 0.1),), 0.1), ((), 1.0)], ids=["by its leader", "by the wall clocks"]
)
def test_a_planned_stop_is_where_the_downtime_of_a_handover_begins(measured: tuple[Phase, ...], grant: float) -> None:
    tale = Tale(
        *PLACED, Release("main", 3, "leaving", 1.5), Grant("main", "n2", "handover", phases=measured),
        Started("main", 6, 0.25),
    )  # fmt: skip
    assert phases(tale.events[-2]) == [("stop", 1.5)]
    assert phases(tale.last) == [("stop", 1.5), ("grant", grant), ("start", 0.25)]
    tale.tell(Release("main", 6, "failed"))
    tale.tell(Grant("main", "n1", "failover"))
    assert phases(tale.last) == [], "what failed was down before anybody noticed"


@pytest.mark.parametrize(
    "late", [Release("main", 2, "leaving"), Started("main", 2), Started("main", 3), Settled("main", 3)]
)
def test_repeats_and_late_reports_are_no_events(late: Command) -> None:
    tale = Tale(*PLACED)
    before = tale.events
    tale.tell(late)
    assert tale.events == before


def test_who_cancelled_a_failback_is_kept() -> None:
    last = Tale(*PLACED, CancelFailback("main", "ann@desk")).last
    assert (last.kind, last.workload, last.operator) == ("cancel_failback", "main", "ann@desk")


def test_other_parts_note_what_is_theirs() -> None:
    audit = Audit()
    audit.note(Entry(7, 2, 7000, NoOp()), "pause", operator="ann@desk", reason="r" * 9999)
    event = audit.events[7]
    assert (event.kind, event.at, event.term, event.operator) == ("pause", 7000, 2, "ann@desk")
    assert event.reason == "r" * TEXT_CHARS_MAX


def test_the_history_is_bounded_and_the_oldest_go_first() -> None:
    tale = Tale()
    for _ in range(EVENTS_MAX + 5):
        tale.tell(LED)
    assert len(tale.events) == EVENTS_MAX
    assert (tale.events[0].id, tale.last.id) == (7, EVENTS_MAX + 6)


def test_the_phases_of_one_event_are_bounded() -> None:
    tale = Tale(*[Grant("main", "n1", "placement", phases=LOST)] * 100)
    assert len(tale.events) == 2
    assert len(tale.last.phases) == PHASES_MAX


def test_the_phases_of_a_downtime_are_bounded_and_add_up() -> None:
    again = [Grant("main", "n2", "failover", phases=(Phase("lease", 1.0),))] * 100
    tale = Tale(*PLACED, Grant("main", "n2", "failover", phases=LOST), *again)
    assert len(tale.last.phases) == PHASES_MAX
    assert tale.last.phases[0].name == "detect"
    assert sum(phase.seconds for phase in tale.last.phases) == pytest.approx(103.0)


elections = st.builds(
    NoOp,
    st.sampled_from(["n1", "n2", ""]),
    st.sampled_from(["silence", ""]),
    st.lists(st.sampled_from(["n1", "n2"]), max_size=2).map(tuple),
    st.just(LOST),
)


@given(st.lists(st.one_of(commands, elections), max_size=40))
def test_any_history_is_told_alike_and_survives_its_dump(history: list[Command]) -> None:
    tale, again = Tale(*history), Tale(*history)
    assert tale.events == again.events
    ids = [event.id for event in tale.events]
    assert ids == sorted(set(ids))
    for event in tale.events:
        assert event.id <= event.changed <= tale.state.applied
        assert all(phase.seconds >= 0 for phase in event.phases)
    running = [event.workload for event in tale.events if event.state == "running"]
    assert len(running) == len(set(running)), "two changes of place of one workload at once"
    loaded = Audit.load(tale.state.audit.dump())
    assert loaded.events == tale.state.audit.events
    assert loaded.leader == tale.state.audit.leader
    assert list(loaded.events) == ids


def test_a_dump_is_plain() -> None:
    def plain(value: object) -> bool:
        if isinstance(value, list):
            return all(plain(item) for item in value)
        return value is None or type(value) in (str, int, float, bool)

    assert plain(Tale(*PLACED, Grant("main", "n2", "failover", phases=LOST)).state.audit.dump())


@pytest.mark.parametrize(
    "dumped",
    [
        [],
        ["n1"],
        [7, []],
        ["n1", 7],
        ["n1", [[]]],
        ["n1", [7]],
        ["n1", [["1", "x", 0, 1, *[""] * 8, [], [], "", "", 0]]],
        ["n1", [[1, "x", 0, 1, *[""] * 8, [7], [], "", "", 0]]],
        ["n1", [[1, "x", 0, 1, *[""] * 8, [], [["a"]], "", "", 0]]],
        ["n1", [[1, "x", 0, 1, *[""] * 8, [], [], "", "", 0, 0, 0, 0]]],
    ],
)
def test_what_no_history_dumped_is_refused(dumped: list[Any]) -> None:
    with pytest.raises(ValueError):
        Audit.load(dumped)


def test_an_event_of_an_older_release_takes_the_defaults() -> None:
    (event,) = Audit.load(["n1", [[1, "x", 0, 1, *[""] * 8, ["n1"], []]]]).events.values()
    assert (event.state, event.votes, event.changed) == ("done", ("n1",), 0)
