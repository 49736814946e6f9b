"""Requests about the voters, from any node's control socket to the leader and back."""

from __future__ import annotations

from tests.daemon.runtime.live import Live


def test_a_node_is_removed_and_let_in_again() -> None:
    with Live(3) as live:
        live.formed()
        planned = live.ask("n2", "node_remove", {"node": "n3", "dry_run": True})
        assert (planned["before"]["voters"], planned["after"]["voters"]) == (3, 2)
        assert planned["after"]["failure_tolerance"] == 0
        assert live.ask("n2", "node_remove", {"node": "n3", "reason": "sold"})["voters"] == ["n1", "n2"]
        live.until(lambda: live.act(lambda: live["n3"].node.belonging.removed))
        live.until(lambda: all(each["id"] != "n3" for each in live.ask("n1", "status")["nodes"]))
        assert "removed" in [alert["kind"] for alert in live.ask("n3", "status")["alerts"]]
        again = live.refused("n1", "node_remove", {"node": "n3"})
        assert (again["code"], again["message"]) == ("refused", "n3 is removed already")
        live.ask("n2", "node_admit", {"node": "n3"})
        live.until(lambda: not live.act(lambda: live["n3"].node.belonging.removed))


def test_what_would_cost_the_quorum_or_makes_no_sense_is_refused() -> None:
    with Live(3) as live:
        live.formed()
        owner = live.refused("n2", "node_remove", {"node": "n1"})
        assert "runs `main`" in owner["message"]
        nobody = [live.refused("n2", f"node_{verb}", {"node": "n9"}) for verb in ("remove", "promote", "admit")]
        assert {(each["code"], each["message"]) for each in nobody} == {("usage", "no node `n9` here")}
        assert "a voter already" in live.refused("n2", "node_promote", {"node": "n3"})["message"]
        assert "was not removed" in live.refused("n2", "node_admit", {"node": "n3"})["message"]
