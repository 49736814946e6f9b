"""What `status` says, against the contract: in each state a cluster, a workload, a move can be in."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from mltb_transport.messages import CancelFailback, Heartbeat
from mltb_transport.records import Record
from mltbd.core.events import Received, StopRequested
from mltbd.core.failover import Policy
from mltbd.core.workload import Patience
from mltbd.runtime import views
from mltbd.runtime.instants import instant
from tests.daemon.runtime.town import House, Town

KEYS = {
    "": {"schema", "view", "cluster", "nodes", "workloads", "failover", "locks", "state_revision", "alerts"},
    "view": {"node", "age_seconds"},
    "cluster": {
        "name", "id", "state", "is_healthy", "term", "leader", "quorum", "failure_tolerance", "total_nodes",
        "active_nodes", "paused",
    },
    "nodes": {
        "id", "address", "port", "state", "role", "priority", "health", "incarnation", "last_seen_seconds", "rtt_ms",
        "applied_index", "lag", "version",
    },
    "workloads": {"name", "owner", "token", "state", "since", "pid", "health", "restarts", "lease_remaining_seconds"},
    "failover": {"state", "mode", "primary_node", "secondary_nodes", "last_failover_time", "failback_in_seconds"},
    "locks": {"held"},
}  # fmt: skip
CLUSTER_STATES = {"FORMING", "STABLE", "DEGRADED", "NO_QUORUM", "SPLIT_BRAIN"}
WORKLOAD_STATES = {"STOPPED", "STARTING", "RUNNING", "STOPPING", "BACKOFF", "FAILED", "UNKNOWN"}
FAILOVER_STATES = {"NORMAL", "DETECTING", "FAILING_OVER", "FAILED_OVER", "RECOVERING", "FAILED"}
MANUAL = Policy(automatic=False)


def picture(house: House, lead: House | None = None) -> dict[str, Any]:
    """The status of one node, after checking what holds for every status: keys, words, JSON."""
    shown = house.view(lead)
    json.dumps(shown, allow_nan=False)
    for part, keys in KEYS.items():
        found = shown if not part else shown[part]
        for each in found if isinstance(found, list) else [found]:
            assert keys <= set(each), (part, keys - set(each))
    assert shown["cluster"]["state"] in CLUSTER_STATES
    assert shown["failover"]["state"] in FAILOVER_STATES
    assert {w["state"] for w in shown["workloads"]} <= WORKLOAD_STATES
    if not shown["cluster"]["quorum"]["has_quorum"]:
        assert shown["cluster"]["leader"] is None
        assert shown["cluster"]["failure_tolerance"] == 0
    return shown


def main_of(shown: dict[str, Any]) -> dict[str, Any]:
    assert [w["name"] for w in shown["workloads"]] == ["main"]
    found: dict[str, Any] = shown["workloads"][0]
    return found


def states_of(shown: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {node["id"]: (node["state"], node["health"]) for node in shown["nodes"]}


def phases_of(operation: dict[str, Any]) -> list[tuple[str, str]]:
    return [(phase["name"], phase["state"]) for phase in operation["phases"]]


def test_before_the_founding_each_node_says_what_it_waits_for() -> None:
    town = Town()
    for name, why in (("n1", "waiting for nodes: 1 of 3 have met"), ("n2", "waiting for the founder")):
        shown = picture(town.house[name])
        assert shown["cluster"]["state"] == "FORMING"
        assert (shown["cluster"]["id"], shown["cluster"]["leader"]) == (None, None)
        assert shown["view"]["waiting_for"].startswith(why)
        assert shown["alerts"] == [{"kind": "forming", "message": shown["view"]["waiting_for"]}]
        assert (main_of(shown)["state"], main_of(shown)["owner"], main_of(shown)["since"]) == ("STOPPED", None, None)
        assert states_of(shown) == {name: ("JOINING", "HEALTHY")}


def test_a_founded_cluster_without_its_first_leader_still_forms() -> None:
    town = Town()
    town.until(lambda: town.house["n2"].node.consensus.voters)
    shown = picture(town.house["n2"])
    assert shown["cluster"]["state"] == "FORMING"
    assert shown["cluster"]["quorum"] == {"voters": 3, "needed": 2, "reachable": 3, "has_quorum": False}


def test_stable_is_the_same_on_every_node() -> None:
    town = Town().formed()
    shown = {name: picture(house, town.house["n1"]) for name, house in town.house.items()}
    for name, each in shown.items():
        assert each["view"]["node"] == name
        assert 0 <= each["view"]["age_seconds"] < 1
        assert each["cluster"] == shown["n1"]["cluster"]
        assert each["failover"] == shown["n1"]["failover"]
        assert states_of(each) == {n: ("LEADER" if n == "n1" else "ACTIVE", "HEALTHY") for n in town.house}
        assert each["alerts"] == []
        assert [node["last_seen_seconds"] for node in each["nodes"] if node["id"] == name] == [0.0]
        assert all(node["lag"] == 0 and node["version"] == "0.1.0" for node in each["nodes"])
    assert shown["n1"]["cluster"] == {
        "name": "homelab", "id": "c-1", "state": "STABLE", "is_healthy": True, "term": 2, "leader": "n1",
        "quorum": {"voters": 3, "needed": 2, "reachable": 3, "has_quorum": True}, "failure_tolerance": 1,
        "total_nodes": 3, "active_nodes": 3, "paused": None, "protocol": {"level": 1, "waits": None},
    }  # fmt: skip
    failover = shown["n1"]["failover"]
    assert (failover["state"], failover["mode"]) == ("NORMAL", "automatic")
    assert (failover["primary_node"], failover["secondary_nodes"]) == ("n1", ["n2", "n3"])
    assert (failover["last_failover_time"], failover["failback_in_seconds"]) == (None, None)


def test_a_running_workload_is_the_same_to_owner_and_follower_but_for_the_lease() -> None:
    town = Town()
    town.until(lambda: town.owner())
    began = instant(town.wall)
    town.run(5)
    own = main_of(picture(town.house["n1"]))
    assert own["since"] == began
    assert (own["owner"], own["token"], own["state"], own["health"]) == ("n1", 3, "RUNNING", "HEALTHY")
    assert (own["pid"], own["restarts"]) == (town.house["n1"].guard.leases["main"].pid, 0)
    assert 0 < own["lease_remaining_seconds"] <= 3
    alone = main_of(picture(town.house["n2"]))
    assert alone == own | {"lease_remaining_seconds": None}
    asked = main_of(picture(town.house["n2"], town.house["n1"]))
    assert abs(asked["lease_remaining_seconds"] - own["lease_remaining_seconds"]) < 0.01


def test_only_a_leader_knows_what_a_leader_adds() -> None:
    town = Town().formed()
    assert views.leader_facts(town.house["n2"].node, town.now) == {}
    facts = views.leader_facts(town.house["n1"].node, town.now)
    assert set(facts) == {"leases", "failbacks", "lags", "level_waits", "mode"}
    assert facts["failbacks"] == {"main": None}


def test_a_lost_follower_degrades_the_cluster_and_stops_nothing() -> None:
    town = Town().formed()
    town.house["n3"].kill()
    town.run(10)
    shown = picture(town.house["n1"])
    assert (shown["cluster"]["state"], shown["cluster"]["is_healthy"]) == ("DEGRADED", False)
    assert shown["cluster"]["quorum"]["reachable"] == 2
    assert (shown["cluster"]["failure_tolerance"], shown["cluster"]["active_nodes"]) == (0, 2)
    assert states_of(shown)["n3"] == ("UNREACHABLE", "UNKNOWN")
    assert main_of(shown)["state"] == "RUNNING"


def test_a_lost_owner_is_detected_replaced_and_awaited() -> None:
    town = Town().formed()
    town.house["n1"].kill()
    town.until(lambda: town.leader() == "n2")
    shown = picture(town.house["n2"])
    lost = main_of(shown)
    assert (lost["owner"], lost["state"], lost["health"], lost["pid"]) == ("n1", "UNKNOWN", "UNKNOWN", None)
    assert lost["lease_remaining_seconds"] == 0.0
    assert (shown["failover"]["state"], shown["cluster"]["is_healthy"]) == ("DETECTING", False)
    town.until(lambda: town.owner() == "n2")
    moved_at = instant(town.wall)
    town.run(2)
    shown = picture(town.house["n3"], town.house["n2"])
    assert (shown["failover"]["state"], shown["failover"]["last_failover_time"]) == ("FAILED_OVER", moved_at)
    assert shown["failover"]["primary_node"] == "n2"
    assert shown["failover"]["secondary_nodes"] == ["n1", "n3"]
    operation = shown["failover"]["last_operation"]
    assert (operation["kind"], operation["from"], operation["to"]) == ("failover", "n1", "n2")
    assert (operation["state"], operation["reason"]) == ("done", "n1 is lost")
    assert phases_of(operation) == [("grant", "done"), ("start", "done")]
    town.house["n1"].open()
    town.run(5)
    for name in ("n1", "n2", "n3"):
        shown = picture(town.house[name], town.house["n2"])
        assert shown["failover"]["state"] == "RECOVERING"
        assert 50 < shown["failover"]["failback_in_seconds"] < 60
    assert picture(town.house["n1"])["failover"]["failback_in_seconds"] is None, "nobody but the leader knows it"
    town.run(70)
    shown = picture(town.house["n1"])
    assert (main_of(shown)["owner"], shown["failover"]["state"]) == ("n1", "NORMAL")
    assert shown["failover"]["last_operation"]["kind"] == "failback"


def test_without_quorum_a_node_shows_its_own_view_and_how_old_it_is() -> None:
    town = Town().formed()
    town.cut("n1")
    town.run(10)
    shown = picture(town.house["n1"])
    assert shown["cluster"]["state"] == "NO_QUORUM"
    assert shown["cluster"]["quorum"] == {"voters": 3, "needed": 2, "reachable": 1, "has_quorum": False}
    assert 5 < shown["view"]["age_seconds"] < 11
    assert shown["alerts"] == [{"kind": "no_quorum", "message": "no quorum: 1 of 3 voters reachable, 2 needed"}]
    mine = main_of(shown)
    assert (mine["state"], mine["pid"], mine["lease_remaining_seconds"]) == ("STOPPED", None, 0.0)
    assert main_of(picture(town.house["n2"]))["owner"] == "n2"
    town.heal("n1")
    town.run(10)
    assert picture(town.house["n1"])["cluster"]["state"] == "STABLE"
    assert picture(town.house["n1"])["view"]["age_seconds"] < 1


def test_a_member_that_comes_back_alone_has_no_quorum_and_does_not_form() -> None:
    town = Town().formed()
    for house in town.house.values():
        house.kill()
    town.run(5)
    town.house["n2"].open()
    town.run(5)
    shown = picture(town.house["n2"])
    assert (shown["cluster"]["state"], shown["cluster"]["id"]) == ("NO_QUORUM", "c-1")
    assert shown["alerts"] == [{"kind": "no_quorum", "message": "no quorum: 1 of 3 voters reachable, 2 needed"}]


def test_two_that_call_themselves_leader_of_the_youngest_term_are_a_split_brain() -> None:
    town = Town().formed()

    def claim(record: Record, newer: int, term: int) -> None:
        claimed = replace(record, seq=record.seq + newer, leader=record.node, term=term)
        town.house["n1"].feed(Received(record.node, record.incarnation, "c-1", Heartbeat(claimed, ())))

    record = town.house["n2"].node.membership.own
    claim(record, newer=1, term=record.term - 1)
    assert picture(town.house["n1"])["cluster"]["state"] == "STABLE", "an older term is a leader that will step down"
    claim(record, newer=2, term=record.term)
    assert picture(town.house["n1"])["cluster"]["state"] == "SPLIT_BRAIN"
    town.run(10)
    assert picture(town.house["n1"])["cluster"]["state"] == "STABLE", "it said otherwise since"


def test_a_workload_that_starts_stops_and_backs_off() -> None:
    town = Town().formed()
    town.house["n1"].guard.ends("main")
    town.settle()
    shown = main_of(picture(town.house["n2"]))
    assert (shown["state"], shown["restarts"], shown["health"], shown["pid"]) == ("BACKOFF", 1, "UNHEALTHY", None)
    assert states_of(picture(town.house["n2"]))["n1"] == ("LEADER", "DEGRADED")
    town.until(lambda: town.owner())
    town.house["n2"].guard.mute = True
    town.house["n1"].guard.stubborn = True
    town.house["n1"].ask("switchover", "n2")
    town.run(1)
    assert main_of(picture(town.house["n3"]))["state"] == "STOPPING"
    town.house["n1"].guard.ends("main", "stopped")
    town.run(1)
    shown = main_of(picture(town.house["n3"]))
    assert (shown["owner"], shown["state"], shown["pid"], shown["health"]) == ("n2", "STARTING", None, "UNHEALTHY")


def test_a_workload_that_fails_everywhere_is_failed_and_says_what_to_do() -> None:
    town = Town()
    for house in town.house.values():
        house.guard.broken = "no such file"
    town.run(40)
    for house in town.house.values():
        shown = picture(house, town.house["n1"])
        assert (main_of(shown)["state"], main_of(shown)["owner"]) == ("FAILED", None)
        assert main_of(shown)["health"] == "UNHEALTHY"
        assert (shown["failover"]["state"], shown["failover"]["primary_node"]) == ("FAILED", None)
        assert shown["cluster"]["state"] == "DEGRADED"
        [alert] = shown["alerts"]
        assert alert == {"kind": "failed", "message": "`main` failed on n1, n2, n3: no such file"}
    operation = shown["failover"]["last_operation"]
    assert (operation["state"], operation["error"]) == ("failed", "n3 gave it up: failed")
    assert phases_of(operation) == [("grant", "done"), ("start", "failed")]


def test_a_switchover_in_each_of_its_phases() -> None:
    town = Town().formed()
    one, two = town.house["n1"], town.house["n2"]
    one.guard.stubborn = two.guard.mute = True
    one.ask("switchover", "n2", reason="kernel update")
    town.run(1)

    def operation() -> dict[str, Any]:
        found: dict[str, Any] = picture(town.house["n3"])["failover"]["last_operation"]
        return found

    assert picture(one)["failover"]["state"] == "FAILING_OVER"
    first = operation()
    assert (first["kind"], first["from"], first["to"], first["state"]) == ("switchover", "n1", "n2", "running")
    assert (first["reason"], first["token"], first["owner"]) == ("kernel update", None, None)
    assert phases_of(first) == [("stop", "running"), ("grant", "waiting"), ("start", "waiting")]
    one.guard.ends("main", "stopped")
    town.run(0.5)
    assert phases_of(operation()) == [("stop", "done"), ("grant", "done"), ("start", "running")]
    assert operation()["phases"][0]["seconds"] == pytest.approx(1.0, abs=0.01)
    assert operation()["downtime_seconds"] is None
    lease = two.guard.leases["main"]
    two.guard.mute, lease.pid = False, 0
    two.guard.start("main", lease.token, 0.3)
    town.run(1)
    last = operation()
    assert phases_of(last) == [("stop", "done"), ("grant", "done"), ("start", "done")]
    assert (last["state"], last["owner"], last["token"], last["id"]) == ("done", "n2", lease.token, first["id"])
    assert last["downtime_seconds"] == pytest.approx(1.5, abs=0.02)
    assert sum(phase["seconds"] for phase in last["phases"]) == pytest.approx(last["downtime_seconds"], abs=0.01)


def test_a_move_whose_owner_does_not_stop_fails_and_says_so() -> None:
    town = Town(policy=Policy(timeout_s=5)).formed()
    town.house["n1"].guard.stubborn = True
    town.house["n1"].ask("switchover", "n2")
    town.run(8)
    shown = picture(town.house["n2"])
    operation = shown["failover"]["last_operation"]
    assert (operation["state"], operation["error"]) == ("failed", "n1 did not stop within 5 s")
    assert phases_of(operation) == [("stop", "failed"), ("grant", "waiting"), ("start", "waiting")]
    assert main_of(shown)["owner"] == "n1"


def test_a_move_whose_target_is_lost_is_rolled_back() -> None:
    town = Town().formed()
    town.house["n1"].guard.stubborn = True
    town.house["n1"].ask("switchover", "n2")
    town.run(0.5)
    town.house["n2"].kill()
    town.run(1.5 * town.house["n1"].node.consensus.silence_s)
    town.house["n1"].guard.ends("main", "stopped")
    town.run(2)
    moves = [views.operation_view(o) for o in town.house["n3"].node.state.placements.operations.values()]
    told = [(move["kind"], move["state"]) for move in moves]
    assert told == [("placement", "done"), ("switchover", "failed"), ("rollback", "done")]
    assert moves[1]["error"] == "n1 took over instead: n2 became unable to take over"
    assert phases_of(moves[1]) == [("stop", "done"), ("grant", "failed"), ("start", "waiting")]
    assert (moves[2]["owner"], main_of(picture(town.house["n3"]))["owner"]) == ("n1", "n1")


def test_a_cancelled_failback_leaves_a_normal_cluster() -> None:
    town = Town().formed()
    town.house["n1"].kill()
    town.until(lambda: town.owner() == "n2")
    town.house["n1"].open()
    town.run(5)
    town.house["n2"].ask("cancel_failback")
    town.run(1)
    assert any(isinstance(e.command, CancelFailback) for e in town.house["n3"].disk.entries)
    assert picture(town.house["n2"])["failover"]["state"] == "NORMAL"
    town.run(100)
    assert main_of(picture(town.house["n1"]))["owner"] == "n2"


@pytest.mark.parametrize("lost", [True, False])
def test_manual_mode_calls_the_operator(lost: bool) -> None:
    town = Town(policy=MANUAL, patience=Patience(failures_max=1, cool_s=1000.0)).formed()
    if lost:
        town.house["n1"].kill()
    else:
        town.house["n1"].guard.ends("main")
    town.run(10)
    shown = picture(town.house["n2"])
    assert shown["failover"]["mode"] == "manual"
    [alert] = shown["alerts"]
    assert alert["kind"] == ("owner_lost" if lost else "no_owner")
    assert "failover is manual" in alert["message"]
    assert shown["failover"]["state"] == ("DETECTING" if lost else "NORMAL")


def test_two_voters_are_warned_and_one_is_not() -> None:
    [alert] = picture(Town(2).formed().house["n1"])["alerts"]
    assert alert == {"kind": "two_voters", "message": "2 voters cannot lose one: add a witness"}
    alone = picture(Town(1).formed().house["n1"])
    assert (alone["alerts"], alone["cluster"]["failure_tolerance"]) == ([], 0)
    assert alone["cluster"]["state"] == "STABLE"


def test_a_witness_is_a_voter_and_no_secondary() -> None:
    shown = picture(Town(witnesses=["n3"]).formed().house["n1"])
    assert [(node["role"], node["voter"]) for node in shown["nodes"]] == [("voter", True)] * 2 + [("witness", True)]
    assert shown["failover"]["secondary_nodes"] == ["n2"]
    assert shown["cluster"]["state"] == "STABLE"


def test_preferred_nodes_come_first() -> None:
    town = Town(policy=Policy(preferred={"main": ("n2", "n3")})).formed()
    failover = picture(town.house["n1"])["failover"]
    assert (failover["primary_node"], failover["secondary_nodes"]) == ("n2", ["n3", "n1"])


def test_a_node_that_leaves_shows_it_and_the_cluster_is_less_than_whole() -> None:
    town = Town().formed()
    town.house["n3"].feed(StopRequested())
    town.run(1)
    shown = picture(town.house["n1"])
    assert states_of(shown)["n3"][0] == "LEAVING"
    assert (shown["cluster"]["state"], shown["cluster"]["is_healthy"]) == ("DEGRADED", False)


def test_a_cluster_without_workloads_is_healthy() -> None:
    town = Town(workloads=())
    town.until(lambda: town.leader())
    town.run(3)
    shown = picture(town.house["n2"])
    assert (shown["workloads"], shown["failover"]["primary_node"]) == ([], None)
    assert (shown["cluster"]["state"], shown["cluster"]["is_healthy"]) == ("STABLE", True)


def test_several_workloads_are_sorted() -> None:
    town = Town(workloads=("web", "main"))
    town.until(lambda: town.owner("web") and town.owner("main"))
    assert [w["name"] for w in picture(town.house["n2"])["workloads"]] == ["main", "web"]
