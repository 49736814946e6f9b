"""A machine that was set up anew under its old name: it follows, and must not be shown as a vote."""

from __future__ import annotations

import pytest

from tests.daemon.runtime.in_memory import MemoryDisk
from tests.daemon.runtime.town import Town


@pytest.mark.parametrize("asked", ["n1", "n2"])
def test_a_wiped_voter_counts_for_nothing(asked: str) -> None:
    town = Town().formed()
    town.house["n3"].kill()
    town.house["n3"].disk = MemoryDisk("disk-new")
    town.house["n3"].open()
    town.until(lambda: town.house["n3"].node.cluster and town.house["n3"].node.state.applied)
    town.run(10.0)
    shown = town.house[asked].view()
    assert shown["cluster"]["quorum"]["reachable"] == 2
    assert shown["cluster"]["failure_tolerance"] == 0
    assert shown["cluster"]["state"] == "DEGRADED"
    assert [each["voter"] for each in shown["nodes"]] == [True, True, False]
    assert [alert["kind"] for alert in shown["alerts"]] == ["wiped"]
