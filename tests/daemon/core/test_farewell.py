"""How long a node that leaves waits for what it runs."""

from __future__ import annotations

import pytest

from mltbd.core.events import StopRequested
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
