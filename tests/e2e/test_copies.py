"""Real nodes and a workload that is no singleton: each runs its own copy, and a drained one runs none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mltbctl.client import Client, MltbError
from mltbctl.demo.cluster import Cluster, Workload
from tests.e2e.stage import RECORDER
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")]

PATIENCE_S = 60.0


def running(socket: Path) -> dict[str, str]:
    """Workload -> owner of what runs, as one node says; empty while it does not answer."""
    try:
        with Client(str(socket), timeout=5) as client:
            return {w["name"]: w["owner"] for w in client.status()["workloads"] if w["state"] == "RUNNING"}
    except MltbError:
        return {}


def test_each_node_runs_its_own_copy_until_it_is_drained(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "c").mkdir()
    recorder = Workload([sys.executable, str(RECORDER)], {"RUNS": str(tmp_path / "runs")})
    cluster = Cluster(2, tmp_path / "c", recorder, options={"HA_STRATEGY": "active_active"})
    for plan in cluster.plans.values():
        text = plan.config.read_text()
        assert text.count("[workload.main]\n") == 1
        plan.config.write_text(text.replace("[workload.main]\n", "[workload.main]\nsingleton = false\n"))
    socket = cluster.plans["n1"].socket
    both = {"main@n1": "n1", "main@n2": "n2"}
    try:
        for node in cluster.nodes:
            cluster.start(node)
        until(lambda: running(socket) == both, PATIENCE_S, "a copy on each node")
        with Client(str(socket), timeout=30) as client:
            client.drain("n2")
            until(lambda: running(socket) == {"main@n1": "n1"}, PATIENCE_S, "no copy on n2")
            client.undrain("n2")
        until(lambda: running(socket) == both, PATIENCE_S, "the copy on n2 again")
    finally:
        cluster.stop()
