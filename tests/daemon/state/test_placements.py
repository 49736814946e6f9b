"""Each command applied to the placements: what changes, what is ignored, and which story is told of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from mltb_transport.supervision import Proven
from mltbd.state.placements import OPERATIONS_MAX, WORKLOADS_MAX, Operation, Placement, Placements


class Story:
    """Commands applied one after the other from index 2 on; entry i was written at wall clock i * 1000."""

    def __init__(self, *commands: Command) -> None:
        self.placements = Placements()
        self.index = 1
        for command in commands:
            self.tell(command)

    def tell(self, command: Command) -> int:
        self.index += 1
        self.placements.apply(Entry(self.index, 1, self.index * 1000, command))
        return self.index

    @property
    def main(self) -> Placement:
        return self.placements.get("main")

    def operation(self, number: int) -> Operation:
        return self.placements.operations[number]


def grant(owner: str, cause: str = "placement", workload: str = "main") -> Grant:
    return Grant(workload, owner, cause, "because")


def move(token: int, target: str, cause: str = "switchover") -> Move:
    return Move("main", token, target, cause, "because")


def moved(token: int = 2) -> Release:
    return Release("main", token, "moved")


# -- grants --------------------------------------------------------------------------------------------------------


def test_a_workload_nobody_placed_has_an_empty_placement() -> None:
    assert Story().main == Placement("main")
    assert Story().placements.operation_of("main") is None


def test_the_token_of_a_grant_is_its_index() -> None:
    story = Story(grant("n1"))
    assert story.main == Placement("main", "n1", 2, 2000, moving=2, changed=2)
    assert story.operation(2) == Operation(
        2, "main", "placement", "", "n1", "because", asked=2000, granted=2000, token=2, owner="n1"
    )
    assert (story.operation(2).state, story.main.asked_to_move) == ("running", False)


def test_a_first_placement_is_done_when_it_runs() -> None:
    story = Story(grant("n1"), Started("main", 2))
    assert story.main == Placement("main", "n1", 2, 2000, started=True, changed=2)
    assert (story.operation(2).state, story.operation(2).started) == ("done", 3000)


def test_an_unplanned_failover_tells_from_where_and_why() -> None:
    story = Story(grant("n1"), Started("main", 2), grant("n2", "failover"))
    assert (story.main.owner, story.main.token, story.main.started, story.main.home) == ("n2", 4, False, "n1")
    operation = story.operation(4)
    assert (operation.source, operation.target, operation.cause) == ("n1", "n2", "failover")


def test_a_grant_while_another_was_starting_is_the_failure_of_that_one() -> None:
    story = Story(grant("n1"), grant("n2", "failover"))
    assert story.operation(2).error == "n2 took over instead: because"
    assert (story.operation(2).state, story.operation(3).state) == ("failed", "running")


# -- the whole of a switchover -------------------------------------------------------------------------------------


def test_a_switchover_from_asking_to_running() -> None:
    story = Story(grant("n1"), Started("main", 2))
    assert story.tell(move(2, "n2")) == 4
    assert (story.main.owner, story.main.moving, story.main.asked_to_move) == ("n1", 4, True)
    story.tell(moved())
    assert (story.main.owner, story.main.home, story.main.released, story.main.asked_to_move) == (
        "", "n1", "moved", True,
    )  # fmt: skip
    story.tell(grant("n2", "switchover"))
    assert (story.main.owner, story.main.token, story.main.asked_to_move) == ("n2", 6, False)
    story.tell(Started("main", 6))
    assert story.main == Placement("main", "n2", 6, 6000, started=True, home="n1", failback_cancelled=True, changed=6)
    assert story.operation(4) == Operation(
        4, "main", "switchover", "n1", "n2", "because",
        asked=4000, released=5000, granted=6000, started=7000, token=6, owner="n2",
    )  # fmt: skip


def test_a_rollback_marks_the_operation_failed() -> None:
    story = Story(grant("n1"), Started("main", 2), move(2, "n2"), moved(), grant("n1", "rollback"))
    assert story.operation(4).state == "failed"
    assert story.operation(4).error == "n1 took over instead: because"
    assert story.operation(6).cause == "rollback"
    story.tell(Started("main", 6))
    assert (story.main.owner, story.main.started, story.main.moving) == ("n1", True, 0)
    assert story.operation(6).state == "done"
    assert story.operation(4).state == "failed"


# -- moves that come too late --------------------------------------------------------------------------------------


def test_a_move_of_an_older_token_fails_and_changes_nothing() -> None:
    story = Story(grant("n1"), Started("main", 2), grant("n2", "failover"))
    before = story.main
    assert story.operation(story.tell(move(2, "n3"))).error == "the placement changed before the move began"
    assert story.main == before


def test_one_move_at_a_time() -> None:
    story = Story(grant("n1"), Started("main", 2), move(2, "n2"))
    before = story.main
    assert story.operation(story.tell(move(2, "n3"))).error == "operation 4 moves it already"
    assert (story.main, story.operation(4).state) == (before, "running")


def test_a_move_takes_over_from_a_grant_that_has_not_started() -> None:
    story = Story(grant("n1"), move(2, "n2"))
    assert story.operation(2).error == "superseded by operation 3"
    assert (story.main.moving, story.operation(3).state) == (3, "running")


def test_a_move_forgets_failed_attempts() -> None:
    story = Story(grant("n1"), Release("main", 2, "failed"), grant("n2", "failover"))
    assert story.main.attempts == 1
    story.tell(move(4, "n1"))
    assert story.main.attempts == 0


def test_a_move_of_what_nobody_runs_leads_to_its_target() -> None:
    story = Story(grant("n1"), Release("main", 2, "failed"), move(2, "n2", "failover"))
    assert (story.main.asked_to_move, story.operation(4).source) == (True, "n1")
    story.tell(grant("n2", "failover"))
    assert (story.operation(4).token, story.main.moving) == (5, 4)


def test_a_move_that_counts_only_while_nothing_has_changed() -> None:
    story = Story(grant("n1"), Started("main", 2))
    assert story.operation(story.tell(Move("main", 2, "n2", "switchover", at=3))).state == "running"
    late = story.operation(story.tell(Move("main", 2, "n3", "switchover", at=3, over=4)))
    assert late.error == "the placement changed before the move began"
    assert story.main.moving == 4


def test_a_move_takes_the_place_of_one_that_it_names() -> None:
    story = Story(grant("n1"), Started("main", 2), move(2, "n2"), move(2, "n3"))
    assert story.operation(5).error == "operation 4 moves it already"
    story.tell(Move("main", 2, "n3", "failover", over=4))
    assert (story.operation(4).error, story.main.moving) == ("superseded by operation 6", 6)


@pytest.mark.parametrize(
    ("cause", "stays"), [("switchover", True), ("failover", True), ("drain", False), ("failback", False)]
)
def test_what_an_operator_chose_stands_against_a_failback_but_a_drain_chooses_nothing(cause: str, stays: bool) -> None:
    story = Story(grant("n1"), Started("main", 2), move(2, "n2", cause), moved(), grant("n2", cause))
    assert story.main.failback_cancelled is stays


def test_a_move_after_a_failed_one_is_free_to_go() -> None:
    story = Story(grant("n1"), Started("main", 2), move(2, "n2"), Abandon("main", 4, "too slow"))
    assert story.operation(story.tell(move(2, "n3"))).state == "running"
    assert story.main.moving == 6


# -- releases ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cause", "attempts"), [("failed", 1), ("leaving", 0), ("restarted", 0), ("moved", 0)])
def test_a_release_leaves_nobody_and_says_why(cause: str, attempts: int) -> None:
    story = Story(grant("n1"), Started("main", 2), Release("main", 2, cause))
    assert story.main == Placement(
        "main", "", 2, 2000, home="n1", released=cause, attempts=attempts, tried="n1" * attempts, changed=4
    )


def test_failures_are_counted_over_owners() -> None:
    story = Story()
    for owner in ("n1", "n2", "n3"):
        story.tell(Release("main", story.tell(grant(owner, "failover")), "failed"))
    assert story.main.attempts == 3
    story.tell(grant("n1"))
    assert story.main.attempts == 3  # only a good run, or an operator, begins anew
    story.tell(Settled("main", story.main.token))
    assert story.main.attempts == 0


def test_a_release_before_the_start_fails_the_operation() -> None:
    story = Story(grant("n1"), Release("main", 2, "failed"))
    assert (story.operation(2).error, story.main.moving) == ("n1 gave it up: failed", 0)


@pytest.mark.parametrize("again", [Release("main", 2, "moved"), Release("main", 2, "failed")])
def test_a_release_counts_once(again: Release) -> None:
    story = Story(grant("n1"), Started("main", 2), Release("main", 2, "failed"))
    before = story.main
    story.tell(again)
    assert story.main == before


# -- stale tokens --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "late",
    [Release("main", 2, "failed"), Started("main", 2), Settled("main", 2), Release("main", 99, "failed"),
     Started("main", 99), Settled("main", 99), Abandon("main", 2, "late"), Abandon("main", 99, "late"),
     Started("other", 4), Release("other", 4, "failed")],
)  # fmt: skip
def test_what_speaks_of_another_token_is_ignored(late: Command) -> None:
    story = Story(grant("n1"), Release("main", 2, "failed"), grant("n2", "failover"))
    before = (story.main, dict(story.placements.operations))
    assert before[0].attempts == 1
    story.tell(late)
    assert (story.main, story.placements.operations) == before


@pytest.mark.parametrize("late", [Started("main", 2), Settled("main", 2), Proven("main", 2)])
def test_what_was_given_back_neither_runs_nor_settles(late: Command) -> None:
    story = Story(grant("n1"), Proven("main", 2), Release("main", 2, "failed"))
    before = story.main
    story.tell(late)
    assert story.main == before


def test_started_counts_once() -> None:
    story = Story(grant("n1"), Started("main", 2), Started("main", 2))
    assert story.operation(2).started == 3000


def test_a_restart_under_a_move_that_was_asked_for_does_not_end_the_move() -> None:
    """The owner says that it runs after it was asked to move, before it has heard."""
    story = Story(grant("n1"), move(2, "n2"), Started("main", 2))
    assert (story.main.started, story.main.moving, story.main.asked_to_move) == (True, 3, True)
    assert story.operation(3).state == "running"


def test_an_abandoned_move_leaves_the_owner_where_it_is() -> None:
    story = Story(grant("n1"), Started("main", 2), move(2, "n2"), Abandon("main", 4, "it did not stop"))
    assert (story.main.owner, story.main.token, story.main.moving, story.main.started) == ("n1", 2, 0, True)
    assert (story.operation(4).error, story.operation(4).state) == ("it did not stop", "failed")


def test_a_start_of_which_no_operation_tells_any_more_is_a_start() -> None:
    story = Story(grant("n1"), move(2, "n2"), Abandon("main", 3, "it did not stop"), Started("main", 2))
    assert story.main == Placement("main", "n1", 2, 2000, started=True, changed=4)


@pytest.mark.parametrize("command", [NoOp(), Founding("c1", "mltb", ())])
def test_other_entries_place_nothing(command: Command) -> None:
    assert Story(command).placements.by_workload == {}


# -- where a failback leads ----------------------------------------------------------------------------------------


def test_home_is_who_ran_it_before() -> None:
    story = Story(grant("n1"), Started("main", 2), grant("n2", "failover"))
    assert story.main.home == "n1"
    story.tell(grant("n3", "failover"))
    assert story.main.home == "n2"


def test_home_stays_when_the_same_node_goes_on() -> None:
    story = Story(grant("n1"), grant("n2", "failover"), Release("main", 3, "restarted"), grant("n2"))
    assert (story.main.owner, story.main.home) == ("n2", "n2")


def test_after_a_failback_there_is_nowhere_to_go_back_to() -> None:
    story = Story(grant("n1"), Started("main", 2), grant("n2", "failover"), Started("main", 4))
    story.tell(move(4, "n1", "failback"))
    story.tell(Release("main", 4, "moved"))
    story.tell(grant("n1", "failback"))
    assert (story.main.owner, story.main.home, story.main.failback_cancelled) == ("n1", "", False)


@pytest.mark.parametrize(
    ("cause", "grants", "cancelled"),
    [
        ("switchover", "n2 switchover", True),
        ("failover", "n2 failover", True),
        ("failback", "n2 failback", False),
        ("switchover", "n3 rollback", True),  # an operator's choice, though it went elsewhere
        ("failback", "n3 rollback", False),  # nobody chose this: it may go back later
    ],
)
def test_only_what_an_operator_moved_stays(cause: str, grants: str, cancelled: bool) -> None:
    owner, why = grants.split()
    story = Story(grant("n1"), Started("main", 2), move(2, "n2", cause), moved(), grant(owner, why))
    assert story.main.failback_cancelled is cancelled


def test_no_failback_until_the_next_grant() -> None:
    story = Story(grant("n1"), CancelFailback("main"))
    assert story.main == replace(Story(grant("n1")).main, failback_cancelled=True)
    story.tell(grant("n2", "failover"))
    assert not story.main.failback_cancelled


# -- limits --------------------------------------------------------------------------------------------------------


def test_operations_have_a_limit_and_the_oldest_are_forgotten() -> None:
    story = Story()
    for number in range(OPERATIONS_MAX + 10):
        story.tell(grant(f"n{number}"))
    assert len(story.placements.operations) == OPERATIONS_MAX
    assert min(story.placements.operations) == 2 + 10
    assert max(story.placements.operations) == story.index


def test_a_repeated_grant_to_the_same_node_goes_on_with_the_same_operation() -> None:
    """It ran there before it came back under a new token: one story, not two."""
    story = Story(grant("n1"), grant("n1"))
    assert list(story.placements.operations) == [2]
    assert (story.main.token, story.main.moving) == (3, 2)
    assert (story.operation(2).token, story.operation(2).granted) == (3, 3000)


def test_workloads_have_a_limit_and_those_placed_go_on() -> None:
    story = Story(*[grant("n1", workload=f"w{number}") for number in range(WORKLOADS_MAX)])
    story.tell(grant("n1", workload="one-too-many"))
    assert len(story.placements.by_workload) == WORKLOADS_MAX
    assert story.placements.get("one-too-many") == Placement("one-too-many")
    token = story.tell(grant("n2", "failover", "w0"))
    assert (story.placements.get("w0").owner, story.placements.get("w0").token) == ("n2", token)


# -- any history ---------------------------------------------------------------------------------------------------

nodes = st.sampled_from(["n1", "n2", "n3"])
indexes = st.integers(0, 30)
workloads = st.sampled_from(["main", "other"])
commands: st.SearchStrategy[Command] = st.one_of(
    st.builds(Grant, workloads, nodes, st.sampled_from(["placement", "failover", "failback"]), st.just("")),
    st.builds(Release, workloads, indexes, st.sampled_from(["moved", "leaving", "failed", "restarted"])),
    st.builds(Move, workloads, indexes, nodes, st.sampled_from(["switchover", "failback"]), st.just("")),
    st.builds(Abandon, workloads, indexes, st.just("slow")),
    st.builds(Started, workloads, indexes),
    st.builds(Settled, workloads, indexes),
    st.builds(CancelFailback, workloads),
    st.just(NoOp()),
)


@given(st.lists(commands, max_size=30))
def test_any_history_keeps_its_promises(history: list[Command]) -> None:
    story, again = Story(), Story()
    for command in history:
        tokens = {name: story.placements.get(name).token for name in ("main", "other")}
        index = story.tell(command)
        for name, before in tokens.items():
            placement = story.placements.get(name)
            granted = isinstance(command, Grant) and command.workload == name
            assert placement.token == (index if granted else before)  # a token comes from a grant, and only grows
            operation = story.placements.operation_of(name)
            assert operation is None or operation.workload == name
            assert not placement.asked_to_move or operation is not None
            assert not (placement.started and not placement.owner)
        assert index not in story.placements.operations or story.operation(index).id == index
    for command in history:
        again.tell(command)
    assert again.placements.by_workload == story.placements.by_workload
    assert again.placements.operations == story.placements.operations
