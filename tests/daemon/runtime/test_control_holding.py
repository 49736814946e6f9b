"""Pause and drain through the control plane of live nodes, and what `status` shows of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mltb_transport.records import TWO_OWNERS
from mltbd.runtime.asks import BadRequest, ask_of
from mltbd.runtime.control_views import risk_alerts
from tests.daemon.runtime.live import Live


def test_a_pause_is_seen_everywhere_and_ends_when_asked() -> None:
    with Live(3) as live:
        live.formed()
        assert live.ask("n1", "is", {"what": "paused"}) == {"answer": False, "reason": "automatic moves are on"}
        done = live.ask("n3", "pause", {"seconds": 1800, "reason": "kernel", "operator": "ann@desk"})
        assert done["changed"] is True
        live.until(lambda: live.ask("n2", "status")["cluster"]["paused"] is not None)
        seen = live.ask("n2", "status")
        paused = seen["cluster"]["paused"]
        assert (paused["by"], paused["reason"]) == ("ann@desk", "kernel")
        assert 1700 < paused["remaining_seconds"] <= 1800
        assert {"kind": "paused", "message": "no automatic moves: paused by ann@desk: kernel"} in seen["alerts"]
        assert live.ask("n2", "is", {"what": "paused"}) == {"answer": True, "reason": "paused by ann@desk: kernel"}
        assert live.ask("n2", "resume")["changed"] is True
        assert live.ask("n1", "resume")["changed"] is False
        live.until(lambda: live.ask("n2", "status")["cluster"]["paused"] is None)


def test_a_pause_with_a_time_ends_by_itself() -> None:
    with Live() as live:
        live.formed().ask("n1", "pause", {"seconds": 2})
        assert live.ask("n1", "status")["cluster"]["paused"]["until"] is not None
        live.until(lambda: live.ask("n1", "status")["cluster"]["paused"] is None)


def test_a_drained_node_is_emptied_and_shown_so() -> None:
    with Live(3) as live:
        live.formed()
        plan = live.ask("n2", "drain", {"node": "n1", "dry_run": True})
        assert (plan["changed"], plan["node"]) == (False, "n1")
        assert live.ask("n2", "drain", {"node": "n1", "reason": "disk", "operator": "ann@desk"})["changed"] is True
        live.until(lambda: live["n2"].guard.running() == ["main"])
        live.until(lambda: live.ask("n2", "status")["cluster"]["leader"] not in (None, "n1"))
        seen = {node["id"]: node["drained"] for node in live.ask("n3", "status")["nodes"]}
        assert (seen["n1"]["by"], seen["n1"]["reason"], seen["n2"], seen["n3"]) == ("ann@desk", "disk", None, None)
        error = live.refused("n3", "switchover", {"to": "n1"})
        verdict = {each["node"]: each["reasons"] for each in error["candidates"]}
        assert (error["code"], verdict["n1"]) == ("refused", ["drained"])
        assert live.ask("n3", "undrain", {"node": "n1"})["changed"] is True


def test_the_last_node_is_not_drained_but_by_force() -> None:
    with Live() as live:
        error = live.formed().refused("n1", "drain", {"node": "n1"})
        assert error["code"] == "refused"
        assert error["candidates"] == [{"workload": "main", "node": "n1", "eligible": True, "reasons": []}]
        assert live.ask("n1", "drain", {"node": "n1", "force": True})["changed"] is True
        alerts = live.ask("n1", "status")["alerts"]
        assert {"kind": "draining", "message": "n1 is drained and still runs `main`"} in alerts
        assert live["n1"].guard.running() == ["main"]


def test_a_plan_that_is_out_of_date_is_refused() -> None:
    with Live(3) as live:
        live.formed()
        plan = live.ask("n1", "switchover", {"to": "n2", "dry_run": True})
        first = live.ask("n1", "switchover", {"to": "n3"})["operation"]
        live.until(lambda: live.ask("n1", "operation", {"id": first})["state"] == "done")
        error = live.refused("n1", "switchover", {"to": "n2", "at": plan["at"]})
        assert error["code"] == "refused"
        assert "has changed since the plan of index" in error["message"]
        fresh = live.ask("n1", "switchover", {"to": "n2", "dry_run": True})
        assert live.ask("n1", "switchover", {"to": "n2", "at": fresh["at"]})["operation"] > first


@pytest.mark.parametrize(
    ("key", "value"),
    [("at", -1), ("at", True), ("at", 1.5), ("at", 2**63), ("seconds", "60"), ("seconds", True), ("seconds", 10**400),
     ("force", 1), ("dry_run", "yes"), ("reason", "x" * 501), ("node", "a\nb")],
)  # fmt: skip
def test_what_is_no_parameter_is_named(key: str, value: object) -> None:
    with pytest.raises(BadRequest, match=f"`{key}`"):
        ask_of(1, "drain", {key: value})


def test_who_takes_a_typed_risk_is_named_everywhere() -> None:
    with Live(3) as live:
        live.formed()
        own = live["n2"].node.membership.own
        assert risk_alerts([own]) == []
        (alert,) = risk_alerts([own, replace(own, node="n3", risks=(TWO_OWNERS,))])
        assert alert[0] == "risk"
        assert alert[1].startswith("SPLIT_BRAIN_PREVENTION is off on n3: a workload may run twice")
