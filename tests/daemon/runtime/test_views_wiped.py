"""A machine that was set up anew under its old name: it follows, and is shown as a vote only once it is one again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mltb_transport.messages import Heartbeat
from mltbd.core.events import Received
from tests.daemon.runtime.in_memory import MemoryDisk
from tests.daemon.runtime.town import Town

by_node = pytest.mark.parametrize("asked", ["n1", "n2"])


def wiped(role: str) -> Town:
    """n3 is back with a new disk, in this role."""
    town = Town().formed()
    house = town.house["n3"]
    house.kill()
    house.disk = MemoryDisk("disk-new")
    house.config = replace(house.config, role=role)
    house.open()
    town.until(lambda: house.node.cluster and house.node.state.applied)
    town.run(20.0)
    return town


@by_node
def test_a_wiped_voter_counts_for_nothing(asked: str) -> None:
    shown = wiped("observer").house[asked].view()  # Which is not made a voter again.
    assert shown["cluster"]["quorum"]["reachable"] == 2
    assert shown["cluster"]["failure_tolerance"] == 0
    assert shown["cluster"]["state"] == "DEGRADED"
    assert [each["voter"] for each in shown["nodes"]] == [True, True, False]
    assert [alert["kind"] for alert in shown["alerts"]] == ["wiped"]


@by_node
def test_a_wiped_voter_is_one_again_after_a_while(asked: str) -> None:
    shown = wiped("voter").house[asked].view()
    assert shown["cluster"]["quorum"]["reachable"] == 3
    assert shown["cluster"]["failure_tolerance"] == 1
    assert shown["cluster"]["state"] == "STABLE"
    assert [each["voter"] for each in shown["nodes"]] == [True, True, True]
    assert shown["alerts"] == []


def test_without_a_majority_a_wiped_voter_is_promised_nothing() -> None:
    town = Town().formed()
    for name in ("n1", "n2"):
        house = town.house[name]
        house.kill()
        house.disk = MemoryDisk(f"disk-new-{name}")
        house.open()
    town.run(20.0)
    shown = town.house["n3"].view()
    assert not shown["cluster"]["quorum"]["has_quorum"]
    assert [each["state"] for each in shown["workloads"]] == ["UNKNOWN"]
    told = [alert["message"] for alert in shown["alerts"] if alert["kind"] == "wiped"]
    assert told == [
        f"{name} came back with another disk: its vote is gone, and only a majority could give it a new one"
        for name in ("n1", "n2")
    ]
    waits = town.house["n1"].view()["view"]["waiting_for"]
    assert waits == "waiting for the leader of the cluster of n3"


@by_node
def test_two_clusters_that_meet_are_shown_to_each_other(asked: str) -> None:
    town = Town().formed()
    node = town.house[asked].node
    strange = replace(node.membership.own, node="x9", cluster="another", store="disk-x9", address="10.9.9.9")
    town.house[asked].feed(Received("x9", 1, "another", Heartbeat(strange, ())))
    (alert,) = town.house[asked].view()["alerts"]
    assert alert["kind"] == "foreign"
    assert "`x9` at 10.9.9.9:7946 is of another cluster, another" in alert["message"]
    assert "x9" not in [each["id"] for each in town.house[asked].view()["nodes"]]
