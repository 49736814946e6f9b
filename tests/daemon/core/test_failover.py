"""Every row of "Placing" in DESIGN.md, and the arithmetic of an automatic failback."""

from __future__ import annotations

from typing import Any

import pytest

from mltb_transport.messages import Abandon, Command, Grant, Move
from mltbd.core.failover import (
    HOLD_DOWN_MAX_S,
    HOUR_S,
    MOVES_PER_HOUR_MAX,
    Candidate,
    Facts,
    Policy,
    best,
    decide,
    failback_in,
    failback_target,
    hold_down,
    preference,
)
from mltbd.state.placements import Placement
from tests.daemon.core.placing_kit import (
    AUTOMATIC,
    BOTH,
    MANUAL,
    NOW,
    THREE_WELL,
    facts,
    ill,
    moved,
    nodes,
    placed,
    well,
)

NOBODY = nodes(ill("n1"), ill("n2"), ill("n3"))


def grant(command: Command | None) -> tuple[str, str]:
    """To whom, and why in one word."""
    assert isinstance(command, Grant)
    assert command.workload == "main"
    return command.owner, command.cause


def decided(policy: Policy, found: Facts) -> Command | None:
    return decide(policy, found, NOW)


# -- the order -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("candidates", "expected"),
    [
        (THREE_WELL, "n1"),
        (nodes(ill("n1"), "n2", "n3"), "n2"),
        (nodes(ill("n1"), ill("n2"), well("n3", 1), well("n9", 999)), "n3"),  # the list comes before priority
        (nodes(well("n8", 100), well("n9", 101)), "n9"),  # behind the list, priority
        (nodes(well("n9"), well("n8")), "n8"),  # then the lower id
        (NOBODY, None),
        ((), None),
    ],
)
def test_best(candidates: tuple[Candidate, ...], expected: str | None) -> None:
    found = best(AUTOMATIC, "main", candidates)
    assert (found.node if found else None) == expected


def test_best_but_one() -> None:
    found = best(AUTOMATIC, "main", THREE_WELL, but="n1")
    assert found is not None
    assert found.node == "n2"


def test_where_workloads_are_spread_the_fewest_others_come_before_priority() -> None:
    busy, calm = Candidate("n1", 900, (), 10.0, load=2), Candidate("n2", 100, (), 10.0, load=1)
    equal = Candidate("n3", 200, (), 10.0, load=1)
    spread = Policy(spread=True)
    assert best(spread, "main", (busy, calm, equal)) == equal
    assert best(Policy(), "main", (busy, calm, equal)) == busy
    assert best(Policy(spread=True, preferred={"main": ("n1",)}), "main", (busy, calm, equal)) == busy


def test_where_workloads_are_spread_priority_moves_nothing_that_runs() -> None:
    higher = nodes(well("n1", 900), well("n2", 100))
    assert failback_in(Policy(), facts(placed("n2"), higher), NOW) == 0
    assert failback_in(Policy(spread=True), facts(placed("n2"), higher), NOW) is None
    assert failback_in(Policy(spread=True, preferred={"main": ("n1",)}), facts(placed("n2"), higher), NOW) == 0


def test_each_workload_has_its_own_order() -> None:
    policy = Policy(preferred={"main": ("n1",), "other": ("n2",)})
    assert preference(policy, "main", well("n1")) < preference(policy, "main", well("n2", 999))
    assert preference(policy, "other", well("n2")) < preference(policy, "other", well("n1", 999))
    assert preference(policy, "third", well("n1")) == preference(policy, "third", well("n2")) == (0, -100)


# -- nobody ever owned it ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", BOTH)
def test_the_first_place_is_the_best_once_all_are_there(policy: Policy) -> None:
    assert decided(policy, facts(Placement("main"), complete=False)) is None
    assert grant(decided(policy, facts(Placement("main")))) == ("n1", "placement")
    assert decided(policy, facts(Placement("main"), NOBODY)) is None


# -- owner lost ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", BOTH)
def test_a_silent_owner_has_its_lease(policy: Policy) -> None:
    assert decided(policy, facts(placed(), nodes("n1", ill("n2"), "n3"), moved_at=(NOW,))) is None


@pytest.mark.parametrize(
    ("candidates", "expected"),
    [
        (nodes("n1", ill("n2"), "n3"), ("n1", "failover")),
        (nodes(ill("n1"), ill("n2"), "n3"), ("n3", "failover")),
        (nodes(ill("n1"), "n2", "n3"), None),  # it is there: it may simply ask again
        (NOBODY, None),
    ],
)
def test_after_the_lease_the_best_other_takes_over(
    candidates: tuple[Candidate, ...], expected: tuple[str, str] | None
) -> None:
    command = decided(AUTOMATIC, facts(placed(), candidates, lease_over=True))
    assert (command and grant(command)) == expected


def test_in_manual_mode_a_lost_owner_waits_for_an_operator() -> None:
    lost = facts(placed(), nodes("n1", ill("n2"), "n3"), lease_over=True)
    assert decided(MANUAL, lost) is None


# -- owner gave it back --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "released", "candidates", "expected"),
    [
        (AUTOMATIC, "leaving", nodes("n1", ill("n2"), "n3"), ("n1", "handover")),
        (MANUAL, "leaving", nodes("n1", ill("n2"), "n3"), None),
        (MANUAL, "leaving", THREE_WELL, ("n2", "handover")),  # when it returns
        (AUTOMATIC, "failed", nodes("n1", ill("n2"), "n3"), ("n1", "failover")),
        (AUTOMATIC, "failed", nodes(ill("n1"), "n2", "n3"), ("n3", "failover")),  # it only looks able for a moment
        (AUTOMATIC, "failed", nodes(ill("n1"), "n2", ill("n3")), ("n2", "failover")),  # nobody else is left
        (AUTOMATIC, "leaving", nodes(ill("n1"), "n2", "n3"), ("n3", "handover")),
        (AUTOMATIC, "failed", nodes(ill("n1"), ill("n2"), "n3"), ("n3", "failover")),
        (MANUAL, "failed", nodes("n1", ill("n2"), "n3"), None),
        (MANUAL, "failed", THREE_WELL, ("n2", "failover")),  # it may run there again
        (AUTOMATIC, "restarted", nodes(ill("n1"), "n2", "n3"), ("n2", "placement")),
        (AUTOMATIC, "restarted", THREE_WELL, ("n1", "placement")),  # not among equals: n1 is the better place
        (AUTOMATIC, "restarted", nodes(ill("n1"), ill("n2"), "n3"), ("n3", "placement")),
        (AUTOMATIC, "restarted", NOBODY, None),
        (MANUAL, "restarted", THREE_WELL, ("n2", "placement")),
        (MANUAL, "restarted", nodes("n1", ill("n2"), "n3"), None),
        (AUTOMATIC, "moved", THREE_WELL, ("n1", "placement")),  # a move that was given up meanwhile
        (MANUAL, "moved", THREE_WELL, ("n2", "placement")),
    ],
)
def test_given_back(
    policy: Policy, released: str, candidates: tuple[Candidate, ...], expected: tuple[str, str] | None
) -> None:
    command = decided(policy, facts(placed("", home="n2", released=released), candidates))
    assert (command and grant(command)) == expected


def test_among_equals_the_same_machine_goes_on() -> None:
    equals = Policy(preferred={})
    came_back = placed("", home="n2", released="restarted")
    assert grant(decided(equals, facts(came_back))) == ("n2", "placement")
    assert grant(decided(equals, facts(placed("", home="n1", released="restarted")))) == ("n1", "placement")
    assert grant(decided(equals, facts(placed("", home="n1", released="leaving")))) == ("n2", "handover")


@pytest.mark.parametrize(("attempts", "goes_on"), [(0, True), (2, True), (3, False), (4, False)])
def test_after_so_many_owners_in_a_row_an_operator_has_to_look(attempts: int, goes_on: bool) -> None:
    command = decided(AUTOMATIC, facts(placed("", home="n2", released="failed", attempts=attempts)))
    assert (command is not None) is goes_on


def test_an_operator_may_look_and_move_it_on() -> None:
    failed = facts(placed("", home="n2", attempts=9, moving=20), operation=moved("n3"))
    assert grant(decided(AUTOMATIC, failed)) == ("n3", "switchover")


# -- operators -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", BOTH)
@pytest.mark.parametrize("cause", ["switchover", "failover", "failback"])
@pytest.mark.parametrize(("owner", "lease_over"), [("", False), ("n2", True)])
def test_once_the_owner_has_stopped_the_target_gets_it(
    policy: Policy, cause: str, owner: str, lease_over: bool
) -> None:
    found = facts(placed(owner, moving=20), operation=moved("n3", cause), lease_over=lease_over)
    assert grant(decided(policy, found)) == ("n3", cause)


@pytest.mark.parametrize("policy", BOTH)
@pytest.mark.parametrize("candidates", [nodes("n1", "n2", ill("n3")), nodes("n1", "n2")])
def test_when_the_target_died_the_next_best_gets_it(policy: Policy, candidates: tuple[Candidate, ...]) -> None:
    found = facts(placed("", moving=20), candidates, operation=moved("n3"))
    assert grant(decided(policy, found)) == ("n1", "rollback")


def test_when_everybody_died_it_waits() -> None:
    assert decided(AUTOMATIC, facts(placed("", moving=20), NOBODY, operation=moved("n3"))) is None


@pytest.mark.parametrize(("age_s", "given_up"), [(0.0, False), (30.0, False), (30.1, True)])
def test_an_owner_that_does_not_stop_keeps_it(age_s: float, given_up: bool) -> None:
    found = facts(placed(moving=20), operation=moved("n3"), operation_age_s=age_s)
    command = decided(AUTOMATIC, found)
    assert command == (Abandon("main", 20, "n2 did not stop within 30 s") if given_up else None)


def test_a_grant_that_has_not_started_yet_is_left_to_start() -> None:
    """The operation is older than the grant: it has been fulfilled, and nobody is asked to move."""
    found = facts(placed("n3", token=21, moving=20, started=False), operation=moved("n3"), operation_age_s=99.0)
    assert decided(AUTOMATIC, found) is None


# -- automatic failback --------------------------------------------------------------------------------------------


def test_a_better_place_that_is_well_again_gets_it_back() -> None:
    command = decided(AUTOMATIC, facts(placed("n2")))
    assert isinstance(command, Move)
    assert (command.workload, command.token, command.target, command.cause) == ("main", 10, "n1", "failback")


@pytest.mark.parametrize(
    ("policy", "placement", "candidates"),
    [
        (MANUAL, placed("n2"), THREE_WELL),
        (AUTOMATIC, placed("n2", failback_cancelled=True), THREE_WELL),
        (AUTOMATIC, placed("n2", started=False), THREE_WELL),
        (AUTOMATIC, placed("n2", token=30, moving=20), THREE_WELL),
        (AUTOMATIC, placed("n1"), THREE_WELL),  # at its best place
        (AUTOMATIC, placed("n2"), nodes(ill("n1"), "n2", "n3")),
        (Policy(preferred={}), placed("n2"), THREE_WELL),  # not strictly before the owner
        (AUTOMATIC, placed("n9"), THREE_WELL),  # we know too little of the owner
    ],
)
def test_no_failback_is_to_come(policy: Policy, placement: Placement, candidates: tuple[Candidate, ...]) -> None:
    found = facts(placement, candidates)
    assert failback_in(policy, found, NOW) is None
    assert decided(policy, found) is None


def test_a_strictly_higher_priority_is_a_better_place_too() -> None:
    found = facts(placed("n2"), nodes(well("n1", 101), "n2"))
    target = failback_target(Policy(), found)
    assert target is not None
    assert target.node == "n1"


HOUR_AGO = NOW - HOUR_S


@pytest.mark.parametrize(
    ("reachable_s", "moved_at", "expected"),
    [
        (0.0, (), 60.0),
        (45.0, (), 15.0),
        (60.0, (), 0.0),
        (1000.0, (), 0.0),
        (0.0, (NOW - 10.0,), 60.0),  # the first change of place doubles nothing
        (1000.0, (NOW - 10.0,), 50.0),  # but it must have stayed for a while
        (1000.0, (NOW - 60.0,), 0.0),
        (100.0, (NOW - 900.0, NOW - 500.0), 20.0),  # 120 - 100
        (100.0, (NOW - 900.0, NOW - 500.0, NOW - 400.0), 140.0),  # 240 - 100
        (100.0, (HOUR_AGO - 1, HOUR_AGO, NOW - 500.0), 0.0),  # an hour ago is forgotten
    ],
)
def test_failback_in(reachable_s: float, moved_at: tuple[float, ...], expected: float) -> None:
    found = facts(placed("n2"), nodes(well("n1", reachable_s=reachable_s), "n2"), moved_at=moved_at)
    assert failback_in(AUTOMATIC, found, NOW) == pytest.approx(expected)
    assert (decided(AUTOMATIC, found) is not None) is (expected == 0.0)


@pytest.mark.parametrize(
    ("moves", "expected"),
    [
        (MOVES_PER_HOUR_MAX - 1, 0.0),
        (MOVES_PER_HOUR_MAX, 1400.0),  # until the first of them is an hour old
        (MOVES_PER_HOUR_MAX + 1, 1500.0),  # then the second
    ],
)
def test_the_brake_on_moves_in_an_hour(moves: int, expected: float) -> None:
    moved_at = tuple(NOW - 2200.0 + 100.0 * number for number in range(moves))
    found = facts(placed("n2"), nodes(well("n1", reachable_s=9999.0), "n2"), moved_at=moved_at)
    assert failback_in(AUTOMATIC, found, NOW) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("first_s", "flaps", "expected"),
    [(60.0, 0, 60.0), (60.0, 1, 60.0), (60.0, 2, 120.0), (60.0, 4, 480.0), (60.0, 64, HOLD_DOWN_MAX_S), (0.0, 9, 0.0)],
)
def test_hold_down(first_s: float, flaps: int, expected: float) -> None:
    assert hold_down(first_s, flaps) == expected


# -- nothing is decided twice --------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", BOTH)
@pytest.mark.parametrize("changes", [{"owner": "n1", "home": ""}, {"owner": "n1", "started": False}])
def test_what_runs_at_its_place_is_left_alone(policy: Policy, changes: dict[str, Any]) -> None:
    assert decided(policy, facts(placed(**changes))) is None
