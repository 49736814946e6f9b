"""What `status` says on a node that is cut off alone, or configured otherwise than its leader."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mltbd.runtime import views
from tests.daemon.core.core_kit import THREE, TIMING
from tests.daemon.core.node_kit import Wired
from tests.daemon.runtime.town import Town


@pytest.mark.parametrize("alone", ["n2", "n4"], ids=["voter", "observer"])
def test_who_hears_no_leader_any_more_knows_none(alone: str) -> None:
    """Requests would go to the old one alone, and a picture would name it."""
    wired = Wired(*THREE, "n4").settled()
    node = wired.nodes[alone]
    assert (node.consensus.leader, node.consensus.is_voter) == ("n1", alone != "n4")
    wired.isolate(alone)
    wired.run(node.consensus.silence_s + TIMING.election_s)
    assert node.consensus.leader == ""
    assert not views.has_quorum(node, wired.now)
    picture = views.status(node, wired.now)["cluster"]
    assert (picture["leader"], picture["quorum"]["has_quorum"]) == (None, False)
    wired.ask(alone, 1, "switchover", target="n3")
    assert [reply.code for reply in wired.replies(1)] == ["no_quorum"]
    wired.cut.clear()
    assert wired.until(lambda: node.consensus.leader == "n1", 5.0)


def test_whether_things_move_by_themselves_is_the_leaders_to_say() -> None:
    wired = Wired(*THREE).settled()
    leader, other = wired.nodes["n1"], wired.nodes["n2"]
    leader.config = replace(leader.config, policy=replace(leader.config.policy, automatic=False))
    lead = views.leader_facts(leader, wired.now)
    assert views.status(other, wired.now, lead)["failover"]["mode"] == "manual"
    assert views.status(other, wired.now)["failover"]["mode"] == "automatic", "of its own, where nobody says better"


def test_a_member_that_comes_back_alone_knows_nothing_and_does_not_call_that_fresh() -> None:
    town = Town().formed()
    for house in town.house.values():
        house.kill()
    town.run(5)
    town.house["n2"].open()
    town.run(5)
    view = town.house["n2"].view()["view"]
    assert not view["known"], "no leader has said what of its log counts"
    assert view["age_seconds"] >= 4.0, "it is as old as this run, at least"
    town.house["n1"].open()
    town.run(10)
    assert town.house["n2"].view()["view"]["age_seconds"] < 1


def test_a_picture_is_as_old_as_what_its_disk_holds_and_not_as_its_leaders_silence() -> None:
    wired = Wired(*THREE).settled()
    node = wired.nodes["n2"]
    wired.run(1.0)
    assert (views.age(node, wired.now) or 0.0) < 1.0
    wired.slow.add("n2")
    wired.ask("n1", 1, "pause", seconds=60.0)
    wired.run(6.0)
    assert node.consensus.leader == "n1", "it is heard all the time"
    assert (views.age(node, wired.now) or 0.0) > 5.0


def test_a_voter_that_nobody_has_met_since_is_listed_as_unreachable() -> None:
    town = Town().formed()
    for house in town.house.values():
        house.kill()
    town.house["n2"].open()
    town.run(5)
    alone = town.house["n2"].view()
    assert [(node["id"], node["state"], node["voter"]) for node in alone["nodes"]] == [
        ("n1", "UNREACHABLE", True), ("n2", "JOINING", True), ("n3", "UNREACHABLE", True),
    ]  # fmt: skip
    met, unmet = alone["nodes"][1], alone["nodes"][0]
    assert unmet.keys() == met.keys()
    assert (unmet["answers"], unmet["health"], unmet["last_seen_seconds"]) == (False, "UNKNOWN", None)
    town.house["n1"].open()
    town.run(20)
    seen = town.house["n2"].view()
    assert (seen["cluster"]["state"], seen["cluster"]["quorum"]["reachable"]) == ("DEGRADED", 2)
    assert [node["answers"] for node in seen["nodes"]] == [True, True, False]


def test_how_far_a_node_is_behind_is_the_leaders_word() -> None:
    """Gossip is seconds old: by its word the leader itself would be behind."""
    town = Town().formed()
    for verb in ("pause", "resume") * 3:
        town.house["n1"].ask(verb)
        town.run(0.05)
    shown = town.house["n3"].view(town.house["n1"])
    assert [node["lag"] for node in shown["nodes"]] == [0, 0, 0]
    assert [node["lag"] for node in town.house["n3"].view()["nodes"]] == [None] * 3
