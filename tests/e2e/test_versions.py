"""Three real nodes go from one version of the protocol to the next, back, and on again, one by one."""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mltbctl.demo.cluster import NodePlan
from tests.e2e.stage import PATIENCE_S, Stage
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")]

LAUNCHER = Path(__file__).parent / "other_mltbd.py"
AN_HOUR, A_MOMENT = 3600.0, 1.0


class Upgraded(Stage):
    """A cluster whose nodes may each be of another version."""

    def __init__(self, directory: Path) -> None:
        # Nothing goes home by itself in the meantime.
        super().__init__(directory, 3, CLUSTER_LEASE_DURATION=5.0, FAILOVER_RECOVERY_WAIT_TIME=600.0)
        self.builds = dict.fromkeys(self.cluster.nodes, (1, AN_HOUR))
        self.cluster._command = self.command

    def command(self, plan: NodePlan) -> list[str]:
        newest, patience_s = self.builds[plan.node]
        usual = plan.command()
        return [usual[0], "-P", str(LAUNCHER), str(newest), str(patience_s), *usual[usual.index("run") :]]

    def exchange(self, node: str, newest: int, patience_s: float) -> None:
        """Stop it, install, start it."""
        os.kill(self.cluster.pid(node), signal.SIGTERM)
        assert self.cluster.wait(node, PATIENCE_S) == 0, self.picture()
        self.builds[node] = (newest, patience_s)
        self.cluster.start(node)

    def rolling(self, newest: int, patience_s: float = AN_HOUR) -> int:
        """All of them one after the other, the owner last. How often the workload had to move."""
        moves, left = 0, list(self.cluster.nodes)
        while left:
            owner = until(self.owner, PATIENCE_S, lambda: f"an owner\n{self.picture()}")
            node = next((name for name in left if name != owner), left[0])
            moves += node == owner
            left.remove(node)
            self.exchange(node, newest, patience_s)
            until(partial(self.back, node), PATIENCE_S, self.picture)
        return moves

    def back(self, node: str) -> bool:
        """It follows, and whoever looks sees it there with its version."""
        seen = [self.status(name) for name in self.cluster.nodes]
        return all(picture and picture["cluster"]["quorum"]["reachable"] == 3 for picture in seen) and all(
            self.protocols(picture).get(node) == self.builds[node][0] for picture in seen if picture
        )

    @staticmethod
    def protocols(picture: dict[str, Any]) -> dict[str, int]:
        return {each["id"]: each["protocol"]["newest"] for each in picture["nodes"] if each["protocol"]}

    def alerts(self) -> list[str]:
        seen = [self.status(node) for node in self.cluster.nodes]
        return [alert["message"] for picture in seen if picture for alert in picture["alerts"]]

    def levels(self) -> list[int | None]:
        seen = [self.status(node) for node in self.cluster.nodes]
        return [picture["cluster"]["protocol"]["level"] if picture else None for picture in seen]


def tokens(stage: Stage) -> list[int]:
    return [run.token for run in stage.runs()]


def test_node_by_node_up_and_back_and_up_again(tmp_path_factory: pytest.TempPathFactory) -> None:
    stage = Upgraded(tmp_path_factory.mktemp("v"))
    with stage:
        moves = stage.rolling(2)
        assert stage.levels() == [1, 1, 1]
        waits = [picture["cluster"]["protocol"]["waits"] for picture in map(stage.status, stage.others()) if picture]
        assert any(wait and "can be taken back" in wait for wait in waits), waits
        moves += stage.rolling(1)
        assert stage.levels() == [1, 1, 1]

        moves += stage.rolling(2, A_MOMENT)
        until(lambda: stage.levels() == [2, 2, 2], PATIENCE_S, lambda: f"level 2\n{stage.picture()}")
        assert len(tokens(stage)) <= 1 + moves, stage.runs()

        old = stage.others(str(until(stage.owner, PATIENCE_S, "an owner")))[0]
        before = tokens(stage)
        stage.exchange(old, 1, AN_HOUR)
        assert stage.cluster.wait(old, PATIENCE_S) == 2, stage.picture()
        said = stage.cluster.log_tail(old, 8)
        assert "level 2, this mltbd speaks 1: install a newer mltbd" in said, said
        assert tokens(stage) == before

        stage.builds[old] = (4, AN_HOUR)
        stage.cluster.start(old)
        words = f"{old} speaks protocol 4, this node 1 to 3"
        until(
            lambda: any(words in alert for alert in stage.alerts()), PATIENCE_S, lambda: f"{words}\n{stage.picture()}"
        )
        assert tokens(stage) == before
