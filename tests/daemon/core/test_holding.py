"""Pause and drain: what the leader decides under them, which requests it takes, and when a pause is over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mltb_transport.messages import Command, Entry, Grant, Move, NoOp
from mltb_transport.operations import Drain, Pause, Resume, Undrain
from mltbd.core.events import Ask
from mltbd.core.failover import Candidate, Facts, Policy, decide, failback_in
from mltbd.core.holding import PAUSE_MAX_S, Watch, judge_control, pending_control, stuck_on
from mltbd.core.operator import Verdict
from mltbd.state.controls import DRAINED_MAX, Controls
from mltbd.state.placements import Placement
from tests.daemon.core.placing_kit import AUTOMATIC, BOTH, NOW, facts, ill, moved, nodes, placed


def decided(found: Facts, policy: Policy = AUTOMATIC) -> Command | None:
    return decide(policy, found, NOW)


# -- decisions while paused ----------------------------------------------------------------------------------------


def test_a_lost_owner_is_waited_for() -> None:
    lost = facts(placed("n2"), nodes("n1", ill("n2"), "n3"), lease_over=True)
    assert isinstance(decided(lost), Grant)
    assert decided(replace(lost, paused=True)) is None


@pytest.mark.parametrize("cause", ["leaving", "failed", "restarted"])
def test_what_was_given_back_starts_on_the_same_node_or_nowhere(cause: str) -> None:
    there = facts(placed("", home="n2", released=cause), paused=True)
    grant = decided(there)
    assert isinstance(grant, Grant)
    assert grant.owner == "n2"
    assert decided(replace(there, candidates=nodes("n1", ill("n2"), "n3"))) is None


def test_when_all_tries_are_spent_nothing_goes_back_to_where_it_last_was_well() -> None:
    spent = placed("", home="n2", released="failed", attempts=3, tried="n2", proven="n1")
    assert isinstance(decided(facts(spent)), Grant)
    assert decided(facts(spent, paused=True)) is None


def test_what_nobody_ever_ran_is_placed() -> None:
    grant = decided(facts(Placement("main"), paused=True))
    assert isinstance(grant, Grant)
    assert grant.owner == "n1"


def test_nothing_goes_back_by_itself() -> None:
    at_second_best = facts(placed("n2"))
    assert failback_in(AUTOMATIC, at_second_best, NOW) == 0
    assert failback_in(AUTOMATIC, replace(at_second_best, paused=True), NOW) is None
    assert decided(replace(at_second_best, paused=True)) is None


@pytest.mark.parametrize("policy", BOTH)
def test_a_move_under_way_goes_to_its_target_or_back_but_nowhere_else(policy: Policy) -> None:
    def when(candidates: tuple[Candidate, ...]) -> Command | None:
        return decided(facts(placed("", moving=20), candidates, operation=moved("n3"), paused=True), policy)

    assert when(nodes("n1", "n2", "n3")) == Grant("main", "n3", "switchover")
    back = when(nodes("n1", "n2", ill("n3")))
    assert isinstance(back, Grant)
    assert (back.owner, back.cause) == ("n2", "rollback")
    assert when(nodes("n1", ill("n2"), ill("n3"))) is None


# -- decisions about a drained node --------------------------------------------------------------------------------


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("policy", BOTH)
def test_what_runs_on_a_drained_node_goes_to_the_best_other(policy: Policy, paused: bool) -> None:
    found = facts(placed("n1"), nodes(drained("n1"), "n2", "n3"), drained=True, paused=paused)
    assert decided(found, policy) == Move("main", 10, "n2", "drain", "n1 is drained")


def test_it_runs_on_while_nobody_else_can() -> None:
    assert decided(facts(placed("n1"), nodes(drained("n1"), ill("n2"), ill("n3")), drained=True)) is None


@pytest.mark.parametrize("cause", ["leaving", "failed", "restarted"])
def test_what_has_left_a_drained_node_does_not_return(cause: str) -> None:
    grant = decided(facts(placed("", home="n1", released=cause), nodes(drained("n1"), "n2", "n3")))
    assert isinstance(grant, Grant)
    assert grant.owner == "n2"
    assert decided(facts(placed("", home="n1", released=cause), nodes(drained("n1"), ill("n2"), ill("n3")))) is None


def test_a_drained_home_calls_nothing_back() -> None:
    assert failback_in(AUTOMATIC, facts(placed("n2"), nodes(drained("n1"), "n2", "n3")), NOW) is None


def drained(node: str) -> Candidate:
    return Candidate(node, 100, ("drained",), 1000.0)


# -- requests ------------------------------------------------------------------------------------------------------


KNOWN = ("n1", "n2", "n3")


def controls_of(*commands: Command) -> Controls:
    controls = Controls()
    for index, command in enumerate(commands, start=2):
        controls.apply(Entry(index, 1, 0, command))
    return controls


def asked(verb: str, controls: Controls, places: dict[str, Facts] | None = None, **rest: Any) -> Verdict:
    return judge_control(Ask(1, verb, operator="alice", **rest), controls, KNOWN, places or {})


def test_pause_and_resume() -> None:
    assert asked("pause", Controls(), seconds=60.0, reason="x").command == Pause(60.0, "alice", "x")
    assert asked("resume", Controls()).command is None
    assert asked("resume", controls_of(Pause(60.0, "bob"))).command == Resume(2, "asked", "alice")


@pytest.mark.parametrize("seconds", [-1.0, PAUSE_MAX_S + 1, float("nan")])
def test_a_pause_has_a_limit(seconds: float) -> None:
    assert asked("pause", Controls(), seconds=seconds).code == "usage"
    assert asked("pause", Controls(), seconds=PAUSE_MAX_S).command == Pause(PAUSE_MAX_S, "alice")


def test_drain_and_undrain() -> None:
    assert asked("drain", Controls(), target="n1", reason="x").command == Drain("n1", "alice", "x")
    assert asked("drain", controls_of(Drain("n1", "bob")), target="n1").command is None
    assert asked("undrain", controls_of(Drain("n1", "bob")), target="n1").command == Undrain("n1", "alice")
    assert asked("undrain", Controls(), target="n1").command is None


@pytest.mark.parametrize("verb", ["drain", "undrain"])
def test_an_unknown_node_is_refused_with_those_there_are(verb: str) -> None:
    verdict = asked(verb, Controls(), target="n9")
    assert (verdict.code, verdict.message) == ("usage", "no node `n9` here, only n1, n2, n3")


def test_a_node_that_is_gone_for_good_can_still_be_undrained() -> None:
    assert asked("undrain", controls_of(Drain("n9", "bob")), target="n9").command == Undrain("n9", "alice")


def test_the_drained_have_a_limit() -> None:
    full = controls_of(*(Drain(f"m{number}", "bob") for number in range(DRAINED_MAX)))
    assert asked("drain", full, target="n1").code == "refused"


LAST = {"main": facts(placed("n1"), nodes("n1", ill("n2"), ill("n3")))}


def test_the_last_node_of_a_workload_is_drained_only_by_force() -> None:
    refused = asked("drain", Controls(), LAST, target="n1")
    assert (refused.command, refused.code) == (None, "refused")
    assert refused.message == "n1 is the last node that can run `main`"
    forced = asked("drain", Controls(), LAST, target="n1", force=True)
    assert forced.command == Drain("n1", "alice", "")
    assert "runs on there" in forced.message


@pytest.mark.parametrize(
    ("owner", "candidates", "stuck"),
    [
        ("n1", nodes("n1", "n2"), False),
        ("n1", nodes("n1", ill("n2")), True),
        ("n1", nodes(ill("n1"), ill("n2")), True),
        ("n2", nodes("n1", "n2"), False),
        ("", nodes("n1", ill("n2")), True),
        ("n2", nodes(ill("n1"), "n2"), False),
        ("n2", nodes(ill("n1"), ill("n2")), False),
    ],
)
def test_who_is_the_last(owner: str, candidates: tuple[Candidate, ...], stuck: bool) -> None:
    assert stuck_on("n1", {"main": facts(placed(owner), candidates)}) == (["main"] if stuck else [])


def test_an_unknown_verb_is_an_error_of_usage() -> None:
    assert asked("dance", Controls()).code == "usage"


# -- the watch -----------------------------------------------------------------------------------------------------


def test_a_pause_ends_when_its_time_is_over_as_this_node_saw_it_begin() -> None:
    watch, controls = Watch(0.0), controls_of(Pause(60.0, "alice"))
    watch.look(controls, 100.0, fresh=True)
    watch.look(controls, 130.0, fresh=True)
    assert watch.ends_at(controls) == 160.0
    assert watch.expired(controls, 159.9) is None
    assert watch.expired(controls, 160.0) == Resume(2, "expired")


def test_another_pause_has_a_time_of_its_own() -> None:
    watch, controls = Watch(0.0), controls_of(Pause(60.0, "alice"))
    watch.look(controls, 100.0, fresh=True)
    controls.apply(Entry(9, 1, 0, Pause(60.0, "bob")))
    watch.look(controls, 150.0, fresh=True)
    assert watch.expired(controls, 209.9) is None
    assert watch.expired(controls, 210.0) == Resume(9, "expired")


@pytest.mark.parametrize("controls", [Controls(), controls_of(Pause(0.0, "alice"))])
def test_without_a_limit_nothing_ends(controls: Controls) -> None:
    watch = Watch(0.0)
    watch.look(controls, 1.0, fresh=True)
    assert watch.ends_at(controls) == float("inf")
    assert watch.expired(controls, 1e12) is None


def test_what_happened_before_this_daemon_delays_no_failback() -> None:
    watch, controls = Watch(0.0), controls_of(Drain("n1", "alice"))
    watch.look(controls, 5.0, fresh=False)
    assert watch.changed_at == float("-inf")
    controls.apply(Entry(9, 1, 0, Undrain("n1", "alice")))
    watch.look(controls, 7.0, fresh=True)
    watch.look(controls, 9.0, fresh=True)
    assert watch.changed_at == 7.0, "other entries are no change of the controls"


@pytest.mark.parametrize("command", [Pause(1.0, "a"), Resume(2, "asked"), Drain("n1", "a"), Undrain("n1", "a")])
def test_a_change_on_its_way_through_the_log_is_seen(command: Command) -> None:
    assert pending_control([Entry(2, 1, 0, NoOp()), Entry(3, 1, 0, command)])
    assert not pending_control([Entry(2, 1, 0, NoOp())])
