"""A what-if from hand-wired clusters: what is told, what travels to the child, and that it ends within its limits."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from typing import Any

import pytest

from mltbd.core.failover import Policy
from mltbd.runtime.simulate_control import COMMAND
from mltbd.whatif import child, world
from mltbd.whatif.answer import ask, play
from mltbd.whatif.faults import Fault, parse
from mltbd.whatif.position import Position, packed, position_of, unpacked
from mltbd.whatif.world import WorldError
from tests.daemon.core.node_kit import Wired

THREE = ("n1", "n2", "n3")


def position(*names: str, near: set[str] | None = None, **config: Any) -> Position:
    """n1 leads and runs main; as n1 sees it."""
    wired = Wired(*(names or THREE), **config).settled()
    return position_of(wired.nodes["n1"], near or set(names or THREE), wired.now)


def told(text: str, here: Position) -> dict[str, Any]:
    return ask(here, parse(text, here.names, here.leader, "n1"), 3)


def test_a_position_survives_its_journey() -> None:
    here = position(policy=Policy(preferred={"main": ("n1", "n2")}))
    there = unpacked(json.loads(json.dumps(packed(here))))
    assert there.mates == here.mates
    assert there.snapshot == here.snapshot
    for name in ("timing", "policy", "patience", "heartbeat_s", "quorum_size"):
        assert getattr(there.config, name) == getattr(here.config, name)


def test_the_loss_of_the_owner() -> None:
    answer = told("kill n1", position())
    assert answer["leader"]["before"] == "n1"
    (workload,) = answer["workloads"]
    assert workload["before"] == "n1"
    assert {each["node"] for each in workload["after"]} <= {"n2", "n3"}
    span = workload["downtime_seconds"]
    assert 1.5 < span["min"] <= span["max"] < 6.0
    assert (answer["failure_tolerance"], answer["overlaps"]) == (0, 0)
    assert answer["quorum"] == {"voters": 3, "needed": 2, "left": 2, "has_quorum": True}
    assert answer["lines"][-1] == "then: not one more voter may be lost"


def test_a_planned_stop_is_no_downtime_of_zero_seconds() -> None:
    line = next(line for line in told("stop n1", position())["lines"] if line.startswith("main"))
    assert line.endswith("down for no longer than it takes to stop and start")


def test_the_loss_of_a_bystander_changes_nothing() -> None:
    answer = told("kill n3", position())
    assert "main: it runs on, on n1" in answer["lines"]
    assert "leader: n1 stays" in answer["lines"]


def test_without_a_quorum_nothing_runs() -> None:
    answer = told("kill n2 n3", position())
    (workload,) = answer["workloads"]
    assert (workload["after"], workload["downtime_seconds"]) == ([{"node": None, "runs": 3}], None)
    assert workload["why_not"] == "no quorum is left, so nobody may take it over"
    assert answer["lines"][0] == "quorum: 1 of 3 voters are left, 2 are needed: there is none"


def free(*names: str) -> Position:
    """On these nodes SPLIT_BRAIN_PREVENTION is off. It has travelled."""
    here = position(lease_enforced=False)
    mates = tuple(replace(mate, lease_enforced=mate.node not in names) for mate in here.mates)
    assert not any(mate.lease_enforced for mate in here.mates)
    return unpacked(json.loads(json.dumps(packed(replace(here, mates=mates)))))


def test_where_split_brain_is_not_prevented_an_owner_runs_on_alone() -> None:
    answer = told("kill n2 n3", free("n1"))
    assert "main: it runs on, on n1" in answer["lines"]
    assert (answer["overlaps"], answer["quorum"]["has_quorum"]) == (0, False)
    assert "it runs nowhere any more" in " ".join(told("kill n2 n3", free("n2", "n3"))["lines"])


def test_two_at_once_are_told() -> None:
    answer = told("split n1 | n2 n3", free("n1"))
    assert answer["overlaps"] == 3
    twice = "twice: 3 times in 3 runs one began while another of it still ran: SPLIT_BRAIN_PREVENTION is off on n1"
    assert answer["lines"][-1] == twice
    assert told("split n1 | n2 n3", free("n2", "n3"))["overlaps"] == 0


def test_a_node_that_is_down_already_is_down_in_the_answer_too() -> None:
    assert not told("kill n2", position(near={"n1", "n2"}))["quorum"]["has_quorum"]


def test_a_voter_that_nobody_has_met_since_a_start_is_one_that_is_down() -> None:
    wired = Wired(*THREE).settled()
    wired.stop(*THREE)
    for name in ("n2", "n3"):
        wired.begin(name)
    assert wired.until(lambda: wired.leader() != "" and wired.owner() in wired.nodes)
    here = position_of(wired.nodes["n3"], {"n2", "n3"}, wired.now)
    assert [(mate.node, mate.up) for mate in here.mates] == [("n1", False), ("n2", True), ("n3", True)]
    assert "quorum: 2 of 3 voters are left, 2 are needed" in told("kill n1", here)["lines"]
    assert not told("kill n2", here)["quorum"]["has_quorum"]


def test_where_failover_is_manual_an_operator_is_needed() -> None:
    (workload,) = told("kill n1", position(policy=Policy(automatic=False)))["workloads"]
    assert workload["why_not"] == "failover is manual: an operator must run `mltbctl failover`"


def test_a_single_node_loses_everything() -> None:
    assert told("kill n1", position("n1"))["leader"]["after"] == [{"node": None, "runs": 3}]


def test_the_same_seed_tells_the_same() -> None:
    here = position()
    fault = Fault("kill", (("n1",),))
    assert play(here, fault, 5) == play(here, fault, 5)


def test_a_world_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "EVENTS_MAX", 100)
    here = position()
    with pytest.raises(WorldError, match="more than 100 events"):
        told("kill n1", here)
    body = child.answer({"fault": "kill n1", "position": packed(here)})
    assert body["code"] == "failed"


def test_nonsense_is_refused_by_the_child() -> None:
    body = child.answer({"fault": "paint n1", "position": packed(position())})
    assert (body["code"], body["hint"]) == ("usage", "mltbctl simulate --help")


def test_history_and_key_values_stay_at_home() -> None:
    here = position()
    light = len(here.snapshot.data)
    assert light < 2000


def test_the_process_answers_on_its_stdout_and_nothing_else() -> None:
    question = json.dumps({"fault": "kill n1", "position": packed(position())})
    done = subprocess.run(COMMAND, input=question, capture_output=True, text=True, check=True, timeout=120)
    assert done.stderr == ""
    assert json.loads(done.stdout)["fault"] == "kill n1"
