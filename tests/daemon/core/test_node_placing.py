"""Stories of whole nodes about places: failback, rollback, giving up, and who leads when all are well."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from mltb_transport.messages import Renew, TimeoutNow
from mltbd.core import placer
from mltbd.core.effects import Note, Send
from mltbd.core.events import GuardSays, Lost, StopRequested
from mltbd.core.failover import MOVES_PER_HOUR_MAX, Policy
from mltbd.core.farewell import HAND_OVER_S
from mltbd.core.leadership import CONFIRMATIONS_MAX
from mltbd.core.lease import may_pass_at
from mltbd.core.succession import TAKEOVER_FIRST_S
from mltbd.core.workload import Patience
from mltbd.state import placements
from mltbd.state.placements import Operation
from tests.daemon.core.core_kit import THREE, TIMING
from tests.daemon.core.node_kit import Wired

ORDER = Policy(preferred={"main": ("n3", "n2", "n1")}, recovery_wait_s=10.0, timeout_s=8.0, max_attempts=3)


def at_home(**config: Any) -> Wired:
    """n1 leads; main is on n3, its best place."""
    wired = Wired(*THREE, **({"policy": ORDER} | config)).settled()
    assert (wired.leader(), wired.running()) == ("n1", ["n3"])
    return wired


def operations(wired: Wired) -> list[Operation]:
    return list(wired.nodes[wired.leader()].state.placements.operations.values())


def last(wired: Wired) -> tuple[str, str, str]:
    """Cause, owner and state of the youngest operation."""
    operation = operations(wired)[-1]
    return operation.cause, operation.owner, operation.state


def fails(wired: Wired, name: str) -> None:
    """What runs on this node exits with an error."""
    token = wired.alive.pop((name, "main"))
    wired.feed(name, GuardSays("gone", "main", token, cause="exited", status=1))


# -- moves ---------------------------------------------------------------------------------------------------------


def test_it_goes_back_by_itself_when_its_best_place_has_been_well_for_long_enough() -> None:
    wired = at_home()
    wired.stop("n3")
    assert wired.until(lambda: wired.running() == ["n2"], 2 * TIMING.lease_s)
    wired.begin("n3")
    back_at = wired.now
    assert wired.until(lambda: wired.running() == ["n3"], 60.0)
    assert wired.now - back_at >= 10.0
    wired.run(1.0)
    assert last(wired) == ("failback", "n3", "done")


def test_what_is_lost_goes_elsewhere_when_its_lease_is_over_not_sooner_and_not_later() -> None:
    wired = at_home()
    wired.stop("n3")
    placer, reign = wired.nodes["n1"].placer, wired.nodes["n1"].consensus.reign
    assert reign is not None
    wired.run(TIMING.lease_s / 2)
    over = may_pass_at(reign, placer.renewed_at("main"), TIMING.lease_s)
    assert wired.until(lambda: wired.owner() != "n3", 2 * TIMING.lease_s)
    assert wired.now == pytest.approx(over)


def test_how_long_a_place_has_been_well_counts_from_its_return_and_from_the_last_word_of_an_operator() -> None:
    wired = at_home()

    def well_s() -> dict[str, float]:
        return {c.node: c.reachable_s for c in wired.nodes["n1"].placer.facts("main", wired.now).candidates}

    wired.isolate("n3")
    wired.run(2 * TIMING.election_s + 1.0)
    wired.cut.clear()
    wired.run(3.0)
    assert 0.0 < well_s()["n3"] <= 3.0 < min(well_s()["n1"], well_s()["n2"])
    for request, verb in enumerate(("pause", "resume")):
        wired.ask("n1", request, verb)
    wired.run(1.0)
    assert well_s() == dict.fromkeys(THREE, pytest.approx(1.0))


def test_moves_before_a_restart_are_no_moves_of_this_moment() -> None:
    wired = at_home()
    for number in range(MOVES_PER_HOUR_MAX + 2):
        wired.ask("n1", number, "switchover", target=("n2", "n3")[number % 2])
        wired.run(2.0)
    wired.stop(*THREE)
    for name in THREE:
        wired.begin(name)
    assert wired.until(lambda: wired.running() == ["n3"])
    wired.stop("n3")
    assert wired.until(lambda: wired.running() == ["n2"], 2 * TIMING.lease_s)
    wired.begin("n3")
    assert wired.until(lambda: wired.running() == ["n3"], 60.0)


def test_after_an_operators_move_it_stays() -> None:
    wired = at_home()
    wired.ask("n1", 1, "switchover", target="n2")
    wired.run(120.0)
    assert wired.running() == ["n2"]


def test_by_hand_nothing_goes_back_and_nothing_takes_over() -> None:
    wired = at_home(policy=replace(ORDER, automatic=False))
    wired.stop("n3")
    wired.run(60.0)
    assert wired.running() == []
    wired.ask("n1", 1, "failover")
    assert wired.until(lambda: wired.running() == ["n2"], 1.0)
    wired.begin("n3")
    wired.run(120.0)
    assert wired.running() == ["n2"]


def test_a_target_that_dies_meanwhile_is_replaced_by_the_next_best() -> None:
    wired = at_home()
    wired.stubborn.add("n3")
    wired.ask("n1", 1, "switchover", target="n2")
    wired.stop("n2")
    wired.run(2 * TIMING.election_s + 0.5)
    wired.gone("n3")
    wired.run(2.0)
    assert wired.running() == ["n3"]
    assert [(one.cause, one.state) for one in operations(wired)[-2:]] == [
        ("switchover", "failed"),
        ("rollback", "done"),
    ]


def test_an_owner_that_does_not_stop_in_time_keeps_it() -> None:
    wired = at_home()
    wired.stubborn.add("n3")
    wired.ask("n1", 1, "switchover", target="n2")
    wired.run(ORDER.timeout_s - 0.5)
    assert last(wired) == ("switchover", "", "running")
    wired.run(2.0)
    assert last(wired) == ("switchover", "", "failed")
    assert wired.owner() == "n3"
    wired.gone("n3")
    assert wired.until(lambda: wired.running() == ["n3"], 2.0)


def test_what_fails_everywhere_is_given_up_until_an_operator_looks() -> None:
    wired = at_home(patience=Patience(failures_max=1, cool_s=5.0))
    tried = []
    for _ in range(ORDER.max_attempts):
        assert wired.until(lambda: bool(wired.running()), 1.0)  # at once: others stand by
        tried += wired.running()
        fails(wired, tried[-1])
    assert tried[0] == "n3"
    assert tried[0] != tried[1] != tried[2]
    wired.run(60.0)
    assert wired.running() == []
    wired.ask("n1", 1, "failover", target="n2")
    assert wired.until(lambda: wired.running() == ["n2"], 2.0)


def test_what_fails_once_starts_again_on_the_same_node_under_the_same_token() -> None:
    wired = at_home()
    token = wired.token()
    fails(wired, "n3")
    assert wired.until(lambda: wired.running() == ["n3"], 1.0)
    assert wired.alive["n3", "main"] == token


def test_a_better_run_forgets_the_failures_before_it() -> None:
    wired = at_home(patience=Patience(failures_max=1, cool_s=5.0))
    fails(wired, "n3")
    wired.run(5.0)
    assert wired.nodes["n1"].state.placements.get("main").attempts == 1
    wired.ask("n1", 1, "cancel_failback")
    wired.run(70.0)
    assert wired.nodes["n1"].state.placements.get("main").attempts == 0


def test_two_workloads_find_their_places() -> None:
    policy = Policy(preferred={"main": ("n3",), "other": ("n2",)})
    wired = Wired(*THREE, policy=policy, workloads=("main", "other")).settled()
    wired.run(2.0)
    assert sorted(wired.alive) == [("n2", "other"), ("n3", "main")]


def test_workloads_are_spread_and_then_stay_where_they_run() -> None:
    policy = Policy(spread=True, recovery_wait_s=5.0)
    wired = Wired(*THREE, policy=policy, workloads=("main", "other", "third")).settled()
    wired.run(3.0)
    assert sorted(node for node, _ in wired.alive) == ["n1", "n2", "n3"], "one each, though granted at one moment"
    before = set(wired.alive)
    (lost,) = [pair for pair in before if pair[0] == "n3"]
    wired.stop("n3")
    assert wired.until(lambda: len(wired.alive) == 3, 30.0)
    assert before - {lost} < set(wired.alive)
    after = set(wired.alive)
    wired.begin("n3")
    wired.run(60.0)
    assert set(wired.alive) == after, "a node that is empty is no reason to move what runs"


def test_the_load_of_a_node_is_what_else_it_owns() -> None:
    wired = Wired(*THREE, policy=Policy(spread=True), workloads=("main", "other")).settled()
    wired.run(3.0)
    owners = {workload: node for node, workload in wired.alive}
    for workload, other in (("main", "other"), ("other", "main")):
        found = wired.nodes["n1"].placer.facts(workload, wired.now)
        assert {c.node: c.load for c in found.candidates} == {node: int(node == owners[other]) for node in THREE}


def test_workloads_have_a_limit_and_the_rest_is_never_placed(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (placer, placements):
        monkeypatch.setattr(module, "WORKLOADS_MAX", 32)
    names = tuple(f"w{number:03}" for number in range(32 + 6))
    wired = Wired("n1", workloads=names)
    assert wired.until(lambda: len(wired.alive) >= 32)
    wired.run(1.0)
    assert sorted(name for _, name in wired.alive) == list(names[:32])


def test_what_there_is_no_room_for_pushes_nothing_out_and_is_not_granted_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever its name: what was placed once is looked after."""
    for module in (placer, placements):
        monkeypatch.setattr(module, "WORKLOADS_MAX", 4)
    names = ("w1", "w2", "w3", "w4")
    wired = Wired("n1", workloads=names)
    assert wired.until(lambda: len(wired.alive) == 4)
    wired.config["workloads"] = ("a", *names)
    node = wired.begin("n1")
    assert wired.until(lambda: len(wired.alive) == 4)
    end = node.consensus.log.last_index
    wired.run(10.0)
    assert sorted(name for _, name in wired.alive) == list(names)
    assert node.consensus.log.last_index - end < 3 * 4, "what ran there was settled and proven"
    assert [note.text for _, note in wired.done(Note) if " is not placed" in note.text] == [
        "a is not placed: 4 workloads are known already"
    ]


def test_too_many_waiting_requests_extend_no_lease() -> None:
    wired = at_home()
    wired.isolate("n1")
    for request in range(CONFIRMATIONS_MAX):
        assert wired.nodes["n1"].consensus.confirm(request, wired.now)
    before = wired.nodes["n1"].placer.renewed_at("main")
    wired.now += 0.01
    wired.hear("n1", "n3", Renew("main", wired.token(), 7))
    assert wired.nodes["n1"].placer.renewed_at("main") == before


# -- who leads -----------------------------------------------------------------------------------------------------


def ranked() -> Wired:
    """n3 has the highest priority, n1 the lowest."""
    return Wired(*THREE, policy=ORDER, priorities={"n1": 101, "n2": 102, "n3": 103}).settled()


def came_back() -> tuple[Wired, float]:
    """n3 led, was lost, and is back while n2 leads; when n2 should hand over to it."""
    wired = ranked()
    assert wired.leader() == "n3"
    wired.stop("n3")
    assert wired.until(lambda: wired.leader() == "n2", TIMING.lease_s)
    wired.begin("n3")
    wired.run(1.0)
    reign = wired.nodes["n2"].consensus.reign
    assert reign is not None
    # Leaders changed twice within the hour: it waits twice as long.
    return wired, max(reign.peers["n3"].since, reign.won_at) + 2 * TAKEOVER_FIRST_S


def test_who_comes_back_leads_again_once_it_has_been_well_for_a_while() -> None:
    wired, due_at = came_back()
    assert wired.until(lambda: wired.leader() == "n3", 10 * TAKEOVER_FIRST_S)
    assert wired.now == pytest.approx(due_at, abs=1.0)
    token = wired.token()
    wired.run(30.0)
    assert (wired.leader(), wired.token()) == ("n3", token)


def test_who_is_behind_does_not_lead_before_it_has_caught_up() -> None:
    wired, due_at = came_back()
    wired.run(due_at - wired.now - 0.3)
    wired.cut = {("n3", "n2")}
    wired.ask("n2", 1, "cancel_failback")
    wired.run(0.8)
    assert wired.now > due_at
    assert wired.leader() == "n2"
    wired.cut.clear()
    assert wired.until(lambda: wired.leader() == "n3", 2.0)


def test_a_transfer_that_fails_is_not_tried_for_ever() -> None:
    wired, due_at = came_back()
    wired.lost = (TimeoutNow,)
    wired.run(due_at - wired.now + 30.0)
    assert wired.leader() == "n2"
    orders = [effect for _, effect in wired.done(Send) if isinstance(effect.message, TimeoutNow)]
    assert len(orders) == 1


def test_a_grant_that_cannot_be_written_during_a_transfer_is_told_once_when_it_is() -> None:
    wired = at_home()
    wired.lost = (TimeoutNow,)
    leader = wired.nodes["n1"]
    wired.stop("n3")
    wired.run(leader.placer.renewed_at("main") + TIMING.lease_s - wired.now - 0.1)
    assert leader.consensus.transfer("n2", wired.now)
    assert wired.until(lambda: bool(wired.running()), 3.0)
    told = [note.text for _, note in wired.done(Note) if note.text.startswith("grants main to n2")]
    assert told == ["grants main to n2: failover n3 is lost"]


def test_among_equals_leadership_stays_where_it_is() -> None:
    wired = at_home()
    for name in ("n2", "n3"):
        wired.feed(name, Lost("n1"))
    wired.run(5.0)
    leader = wired.leader()
    wired.run(10 * TAKEOVER_FIRST_S)
    assert wired.leader() == leader


def test_a_leaving_leader_passes_leadership_to_the_highest_priority_that_stays() -> None:
    wired = ranked()
    wired.feed("n3", StopRequested())
    assert wired.until(lambda: wired.left("n3"), 5.0)
    wired.stop("n3")
    assert wired.until(lambda: wired.leader() == "n2", TIMING.election_s)
    assert wired.running() == ["n2"]


def test_all_leave_one_after_the_other() -> None:
    wired = at_home()
    for name in ("n3", "n2", "n1"):
        wired.feed(name, StopRequested())
        assert wired.until(partial(wired.left, name), 12.0), name
        wired.stop(name)
    assert wired.alive == {}


def test_an_heir_that_does_not_answer_keeps_nobody_for_ever() -> None:
    wired = at_home()
    wired.lost = (TimeoutNow,)
    began = wired.now
    wired.feed("n1", StopRequested())
    assert wired.until(lambda: wired.left("n1"), 5.0)
    assert wired.now - began == pytest.approx(HAND_OVER_S, abs=0.1)


def test_a_leader_without_heirs_just_leaves() -> None:
    wired = at_home()
    for name in ("n2", "n3"):
        wired.nodes[name].owner.leaving = True
    wired.run(2.0)
    wired.feed("n1", StopRequested())
    assert wired.until(lambda: wired.left("n1"), 5.0)


def test_who_does_not_lead_has_nothing_to_hand_over() -> None:
    wired = at_home()
    assert not wired.nodes["n2"].placer.hand_over(wired.now)


def test_every_request_has_one_answer() -> None:
    wired = at_home()
    for request in range(5):
        wired.ask("n1", request, "failover", dry_run=True)
    wired.run(1.0)
    assert [len(wired.replies(request)) for request in range(5)] == [1] * 5
