"""Workloads that are no singletons, as `status` shows them: an entry for each copy, and no talk of moving them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mltbd.core.failover import Policy
from mltbd.state.copies import copy_name, is_copy
from tests.daemon.runtime.town import House, Town

by_node = pytest.mark.parametrize("asked", ["n1", "n3"])


def town_with(*undecided: str, **changes: Any) -> Town:
    """Each node runs a copy of `web`; for some it is a singleton."""
    town = Town(**changes)
    for name, house in town.house.items():
        house.kill()
        web = "web" if name in undecided else copy_name("web", name)
        town.house[name] = House(town, replace(house.config, workloads=("main", web)))
    town.formed()
    town.run(5.0)
    return town


def shown_by(town: Town, asked: str) -> dict[str, Any]:
    return town.house[asked].view(town.house[town.leader()])


def owners(shown: dict[str, Any]) -> dict[str, tuple[str | None, str]]:
    return {w["name"]: (w["owner"], w["state"]) for w in shown["workloads"] if w["name"] != "main"}


@by_node
def test_each_copy_has_an_entry_with_its_owner_and_lease(asked: str) -> None:
    shown = shown_by(town_with(), asked)
    assert owners(shown) == {f"web@n{number}": (f"n{number}", "RUNNING") for number in (1, 2, 3)}
    assert {w["name"]: w["singleton"] for w in shown["workloads"]} == {
        "main": True, "web@n1": False, "web@n2": False, "web@n3": False,
    }  # fmt: skip
    assert all(w["lease_remaining_seconds"] > 0 for w in shown["workloads"])
    assert shown["cluster"]["state"] == "STABLE"
    assert shown["alerts"] == []


@by_node
@pytest.mark.parametrize("automatic", [True, False])
def test_a_copy_whose_node_is_lost_is_gone_after_its_lease(asked: str, automatic: bool) -> None:
    town = town_with(policy=Policy(automatic=automatic))
    town.house["n2"].kill()
    town.run(10.0)
    shown = shown_by(town, asked)
    assert owners(shown) == {"web@n1": ("n1", "RUNNING"), "web@n3": ("n3", "RUNNING")}
    assert shown["cluster"]["state"] == "DEGRADED"
    assert not [alert for alert in shown["alerts"] if "web" in alert["message"]]


def test_the_primary_is_who_runs_the_singleton() -> None:
    shown = shown_by(town_with(), "n2")
    (main,) = [w for w in shown["workloads"] if w["name"] == "main"]
    assert shown["failover"]["primary_node"] == main["owner"]
    first = town_with()
    assert shown_by(first, "n1")["failover"]["secondary_nodes"] == ["n2", "n3"]


@by_node
def test_nodes_that_disagree_are_told_of(asked: str) -> None:
    shown = shown_by(town_with("n2"), asked)
    (alert,) = [alert for alert in shown["alerts"] if alert["kind"] == "mixed"]
    assert "`web` is a singleton on n2 and none on n1, n3" in alert["message"]
    owned = [name for name, (owner, _) in owners(shown).items() if owner]
    assert len({is_copy(name) for name in owned}) == 1, "in the one way or the other"


@pytest.mark.parametrize(("verb", "target"), [("switchover", "n2"), ("failover", ""), ("failback", "")])
@pytest.mark.parametrize("workload", ["web", "web@n1"])
def test_a_request_to_move_it_is_refused_in_words(verb: str, target: str, workload: str) -> None:
    town = town_with()
    leader = town.house[town.leader()]
    leader.ask(verb, target, workload=workload)
    (reply,) = leader.replies
    assert reply.code == "refused"
    assert "`web` is no singleton: every node runs its own copy" in reply.message
