"""Who could run a workload, and why not."""

from __future__ import annotations

import pytest

from mltb_transport.messages import NoOp
from mltbd.core.log import InvariantViolation
from mltbd.core.placer import BEHIND_MAX
from tests.daemon.core.core_kit import THREE, TIMING
from tests.daemon.core.node_kit import Wired, apart


def reasons(wired: Wired) -> dict[str, list[str]]:
    facts = wired.nodes["n1"].placer.facts("main", wired.now)
    return {candidate.node: list(candidate.reasons) for candidate in facts.candidates}


def test_all_who_could_run_it_are_candidates() -> None:
    assert reasons(apart()) == {"n1": [], "n2": [], "n3": []}


def test_why_a_node_cannot_run_it() -> None:
    wired = Wired(*THREE, roles={"n1": "witness"}).settled()
    wired.stop("n3")
    wired.run(2 * TIMING.election_s + 1.0)
    found = reasons(wired)
    assert found["n1"] == ["a witness: votes only"]
    assert found["n2"] == []
    assert found["n3"][0].startswith("unreachable for ")


def test_who_was_never_heard_is_unreachable() -> None:
    wired = Wired(*THREE)
    wired.until(lambda: wired.leader() == "n1")
    wired.nodes["n1"].consensus.reign.peers["n3"].acked_at = float("-inf")  # type: ignore[union-attr]
    assert reasons(wired)["n3"] == ["unreachable"]


def test_who_leaves_gets_nothing() -> None:
    wired = apart()
    wired.stubborn.add("n3")
    wired.nodes["n3"].owner.leaving = True
    wired.run(1.0)
    assert reasons(wired)["n3"] == ["leaving"]


def test_where_it_is_not_configured_it_cannot_run() -> None:
    facts = apart().nodes["n1"].placer.facts("other", 0.0)
    assert all("not configured" in candidate.reasons[0] for candidate in facts.candidates)


def test_a_node_far_behind_gets_nothing_before_it_has_caught_up() -> None:
    wired = apart()
    node = wired.nodes["n1"]
    wired.cut = {("n2", "n1")}
    for _ in range(BEHIND_MAX):
        node.consensus.propose(NoOp(), wired.now, 0)
        wired.pump()
    assert node.consensus.reign is not None
    n2 = node.consensus.reign.peers["n2"]
    node.consensus.commit = n2.match_index + BEHIND_MAX
    assert reasons(wired)["n2"] == []
    node.consensus.commit += 1
    assert reasons(wired)["n2"] == [f"{BEHIND_MAX + 1} entries behind"]


def test_how_many_more_may_be_lost() -> None:
    wired = apart()
    assert wired.nodes["n1"].placer.tolerance(wired.now) == 1
    wired.stop("n2")
    wired.run(2 * TIMING.election_s + 1.0)
    assert wired.nodes["n1"].placer.tolerance(wired.now) == 0


def test_who_does_not_lead_knows_no_facts() -> None:
    wired = apart()
    with pytest.raises(InvariantViolation, match="not leading term"):
        wired.nodes["n2"].placer.facts("main", wired.now)
