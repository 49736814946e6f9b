"""What operators may ask for: each verdict, with its code and the hint that helps."""

from __future__ import annotations

from typing import Any

import pytest

from mltb_transport.messages import CancelFailback, Move
from mltbd.core.events import Ask
from mltbd.core.failover import Candidate, Facts, Policy
from mltbd.core.operator import Verdict, candidates_of, judge
from mltbd.state.placements import WORKLOADS_MAX, Placement
from tests.daemon.core.node_kit import Wired
from tests.daemon.core.placing_kit import AUTOMATIC, MANUAL, THREE_WELL, facts, ill, moved, nodes, placed

EQUALS = Policy(preferred={})


def asked(verb: str, found: Facts, target: str = "", policy: Policy = AUTOMATIC) -> Verdict:
    return judge(Ask(1, verb, "main", target, "because"), found, policy)


def move(target: str, cause: str, token: int = 10, over: int = 0) -> Verdict:
    return Verdict(Move("main", token, target, cause, "because", over=over), target)


# -- moves ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", [AUTOMATIC, MANUAL])
@pytest.mark.parametrize("verb", ["switchover", "failover"])
def test_a_move_to_a_node_that_can_take_over(verb: str, policy: Policy) -> None:
    assert asked(verb, facts(placed("n2")), "n3", policy) == move("n3", verb)


@pytest.mark.parametrize(
    ("placement", "lease_over"), [(placed("n2"), True), (placed("", home="n2"), False), (Placement("main"), False)]
)
def test_a_failover_needs_no_healthy_owner(placement: Placement, lease_over: bool) -> None:
    found = facts(placement, nodes("n1", ill("n2"), "n3"), lease_over=lease_over)
    assert asked("failover", found, "n3") == move("n3", "failover", placement.token)
    assert asked("failover", found) == move("n1", "failover", placement.token)


def test_a_failover_without_a_target_goes_to_the_best_other() -> None:
    assert asked("failover", facts(placed("n1"))) == move("n2", "failover")


def test_a_failover_to_nobody_is_refused() -> None:
    verdict = asked("failover", facts(placed("n2"), nodes(ill("n1"), "n2", ill("n3"))))
    assert verdict == Verdict(code="refused", message="no other node can take over `main`", hint="mltbctl nodes")


def test_what_there_is_no_room_for_is_refused_and_begins_nothing() -> None:
    wired = Wired("n1", "n2", workloads=("main", "one-more")).settled()
    places = wired.nodes["n1"].state.placements
    places.by_workload = {"main": places.get("main")} | {
        f"w{number}": Placement(f"w{number}", home="n1", released="failed", attempts=9)
        for number in range(1, WORKLOADS_MAX)
    }
    for verb in ("failover", "switchover", "failback"):
        wired.ask("n1", 7, verb, workload="one-more", target="n2")
    for reply in wired.replies(7):
        assert (reply.code, reply.message) == ("refused", "`one-more` is not placed: 256 workloads are known already")
    assert len(wired.replies(7)) == 3
    wired.ask("n1", 8, "failover", workload="main", target="n2")
    assert [reply.code for reply in wired.replies(8)] == [""]


@pytest.mark.parametrize("verb", ["switchover", "failover"])
def test_it_is_there_already(verb: str) -> None:
    verdict = asked(verb, facts(placed("n2")), "n2")
    assert verdict == Verdict(target="n2", message="`main` is on n2 already")


def test_a_lost_owner_that_is_well_again_may_get_it_anew() -> None:
    assert asked("failover", facts(placed("n2"), lease_over=True), "n2") == move("n2", "failover")


def test_a_switchover_needs_a_target() -> None:
    assert asked("switchover", facts(placed("n2"))).code == "usage"


@pytest.mark.parametrize(
    ("placement", "lease_over"), [(placed("n2"), True), (placed("", home="n2"), False), (Placement("main"), False)]
)
def test_a_switchover_needs_a_healthy_owner_else_it_is_a_failover(placement: Placement, lease_over: bool) -> None:
    verdict = asked("switchover", facts(placement, lease_over=lease_over), "n3")
    assert (verdict.command, verdict.code, verdict.hint) == (None, "refused", "mltbctl failover --to n3")


@pytest.mark.parametrize("verb", ["switchover", "failover"])
def test_an_unknown_target_is_refused_with_those_there_are(verb: str) -> None:
    verdict = asked(verb, facts(placed("n2")), "n9")
    assert (verdict.code, verdict.message) == ("usage", "no node `n9` here, only n1, n2, n3")


@pytest.mark.parametrize(
    ("candidates", "hint"),
    [
        (nodes("n1", "n2", ill("n3")), "mltbctl switchover --to n1"),
        (nodes(ill("n1"), "n2", ill("n3")), "mltbctl nodes"),  # the owner is no advice
        (nodes("n1", "n2", Candidate("n3", 100, ("drained",), 0.0)), "mltbctl node undrain n3"),
    ],
)
def test_an_ineligible_target_is_refused_with_one_that_can(candidates: tuple[Candidate, ...], hint: str) -> None:
    verdict = asked("switchover", facts(placed("n2"), candidates), "n3")
    assert verdict == Verdict(code="refused", message="n3 cannot take over `main`", hint=hint)


# -- failback ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("placement", "policy", "target"),
    [
        (placed("n2", home="n3"), AUTOMATIC, "n1"),  # to the best place, wherever it ran before
        (placed("n3", home="n2"), AUTOMATIC, "n1"),
        (placed("n2", home="n1", failback_cancelled=True), AUTOMATIC, "n1"),  # asked for by an operator
        (placed("n2", home="n1"), MANUAL, "n1"),
        (placed("n2", home="n3"), EQUALS, "n3"),  # among equals to where it ran before
    ],
)
def test_failback_goes_home(placement: Placement, policy: Policy, target: str) -> None:
    assert asked("failback", facts(placement), policy=policy) == move(target, "failback")


@pytest.mark.parametrize(
    ("placement", "policy"),
    [
        (placed("n1", home="n2"), AUTOMATIC),  # home was the worse place
        (placed("n2", home=""), EQUALS),
        (placed("n2", home="n2"), EQUALS),
        (placed("n2", home="n9"), EQUALS),  # home is gone
        (placed("n9", home="n1"), EQUALS),  # a new leader has not met the owner yet
    ],
)
def test_there_is_nowhere_to_fail_back_to(placement: Placement, policy: Policy) -> None:
    verdict = asked("failback", facts(placement), policy=policy)
    assert (verdict.command, verdict.code, verdict.target) == (None, "", placement.owner)


def test_a_home_that_is_ill_is_refused() -> None:
    verdict = asked("failback", facts(placed("n2", home="n3"), nodes("n1", "n2", ill("n3"))), policy=EQUALS)
    assert (verdict.code, verdict.message) == ("refused", "n3 cannot take over `main`")
    assert verdict.hint == "mltbctl switchover --to n1"  # `failback` has no target to name


@pytest.mark.parametrize(("owner", "lease_over"), [("", False), ("n2", True)])
def test_failback_of_what_runs_nowhere_is_refused(owner: str, lease_over: bool) -> None:
    verdict = asked("failback", facts(placed(owner), lease_over=lease_over))
    assert (verdict.code, verdict.hint) == ("refused", "mltbctl failover")


def test_a_failback_can_be_cancelled_at_any_time() -> None:
    busy = facts(placed("n2", moving=20), operation=moved("n3"))
    assert asked("cancel_failback", busy) == Verdict(CancelFailback("main"))


# -- not now, not here ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["switchover", "failover", "failback"])
@pytest.mark.parametrize("owner", ["n2", ""])
def test_one_move_at_a_time(verb: str, owner: str) -> None:
    verdict = asked(verb, facts(placed(owner, moving=20), operation=moved("n3")), "n1")
    assert (verdict.code, verdict.message) == ("refused", "operation 20 moves `main` to n3 already")


@pytest.mark.parametrize("placement", [placed("n2", moving=20), placed("", moving=20), placed("n3", 21, moving=20)])
@pytest.mark.parametrize("verb", ["switchover", "failover"])
def test_who_asks_again_gets_the_move_under_way_until_it_is_over(verb: str, placement: Placement) -> None:
    """Also when its target owns the workload and has not started it: such a move may still fail."""
    under_way = Verdict(target="n3", message="operation 20 moves `main` to n3 already", operation=20)
    assert asked(verb, facts(placement, operation=moved("n3")), "n3") == under_way


@pytest.mark.parametrize("verb", ["failover", "failback"])
def test_a_move_without_a_target_repeats_one_of_its_kind(verb: str) -> None:
    under_way = facts(placed("n2", moving=20), operation=moved("n1", verb))
    assert asked(verb, under_way).operation == 20
    assert asked({"failover": "failback", "failback": "failover"}[verb], under_way).code == "refused"


def test_a_failback_that_has_not_started_is_not_over() -> None:
    under_way = facts(placed("n1", 21, moving=20), operation=moved("n1", "failback"))
    assert asked("failback", under_way) == Verdict(None, "n1", "", "operation 20 moves `main` to n1 already", "", 20)


def test_a_repeat_is_answered_with_the_operation_under_way_and_begins_nothing() -> None:
    wired = Wired("n1", "n2", "n3").settled()
    wired.stubborn.add("n1")
    for request in (1, 2):
        wired.ask("n1", request, "switchover", target="n2")
        wired.run(0.2)
    wired.gone("n1")
    assert wired.until(lambda: wired.running() == ["n2"], 5.0)
    wired.run(0.2)
    wired.ask("n1", 3, "switchover", target="n2")
    first, second, third = [wired.replies(request)[0].result["operation"] for request in (1, 2, 3)]
    assert [first, second] == [max(wired.nodes["n1"].state.placements.operations)] * 2
    assert third is None


def test_a_move_whose_owner_is_lost_stands_in_nobodys_way() -> None:
    found = facts(placed("n2", moving=20), operation=moved("n3"), lease_over=True)
    assert asked("failover", found, "n1") == move("n1", "failover", over=20)


def test_a_move_whose_target_is_lost_after_the_owner_has_stopped_stands_in_nobodys_way() -> None:
    found = facts(placed("", moving=20), nodes("n1", "n2", ill("n3")), operation=moved("n3"))
    assert asked("failover", found, "n1") == move("n1", "failover", over=20)


@pytest.mark.parametrize(("at", "refused"), [(0, False), (11, True), (12, False), (40, False)])
def test_a_plan_holds_while_the_placement_has_not_changed(at: int, refused: bool) -> None:
    ask = Ask(1, "switchover", target="n3", at=at)
    verdict = judge(ask, facts(placed("n2", changed=12)), AUTOMATIC)
    assert (verdict.code == "refused") is refused
    if refused:
        assert verdict.message == "`main` has changed since the plan of index 11, at index 12"


def test_a_fulfilled_move_stands_in_nobodys_way() -> None:
    found = facts(placed("n3", token=21, moving=20), operation=moved("n3"))
    assert asked("switchover", found, "n1") == move("n1", "switchover", 21)


@pytest.mark.parametrize("verb", ["switchover", "failover", "failback", "cancel_failback"])
@pytest.mark.parametrize("candidates", [(), nodes(ill("n1"), ill("n2"))], ids=["nobody", "nobody able"])
def test_a_workload_that_nobody_can_run_and_nobody_ever_ran(verb: str, candidates: tuple[Candidate, ...]) -> None:
    verdict = asked(verb, facts(Placement("main"), candidates), "n1")
    assert (verdict.command, verdict.code) == (None, "refused")


def test_an_unknown_verb_is_an_error_of_usage() -> None:
    assert asked("explode", facts(placed("n2"))).code == "usage"


def test_the_verdict_per_candidate_is_shown_as_it_is() -> None:
    expected: list[dict[str, Any]] = [
        {"node": "n1", "eligible": False, "reasons": ["unreachable"]},
        {"node": "n2", "eligible": True, "reasons": []},
    ]
    assert candidates_of(facts(placed(), nodes(ill("n1"), "n2"))) == expected
    assert len(candidates_of(facts(placed(), THREE_WELL))) == 3
