"""How long a node that leaves waits for what it runs."""

from __future__ import annotations

import pytest

from mltbd.core.events import StopRequested
from mltbd.core.failover import Policy
from tests.daemon.core.core_kit import THREE
from tests.daemon.core.node_kit import Wired


@pytest.mark.parametrize("leave_s", [10.0, 45.0])
def test_it_waits_as_long_as_its_workloads_may_take_and_no_longer(leave_s: float) -> None:
    wired = Wired(*THREE, leave_s=leave_s).settled()
    wired.stubborn.add("n1")
    began = wired.now
    wired.feed("n1", StopRequested())
    assert wired.until(lambda: wired.left("n1"), 2 * leave_s)
    assert wired.now - began == pytest.approx(leave_s, abs=0.5)


def test_leadership_does_not_go_to_a_node_that_leaves() -> None:
    """It is the best there is, and its workload takes its time to stop."""
    last = Policy(preferred={"main": ("n3", "n2", "n1")}, recovery_wait_s=1.0)
    wired = Wired(*THREE, priorities={"n3": 300}, absent=("n3",), policy=last, leave_s=200.0)
    wired.run(20.0)
    wired.begin("n3")
    assert wired.until(lambda: wired.owner() == "n3" and wired.running() == ["n3"])
    assert wired.leader() == "n1"
    wired.stubborn.add("n3")
    wired.feed("n3", StopRequested())
    wired.run(120.0)
    assert (wired.leader(), wired.running()) == ("n1", ["n3"])
