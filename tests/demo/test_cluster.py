"""Nodes as the demo sets them up: ports, files, environment, and the death of a whole node."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from mltbctl.demo import cluster as module
from mltbctl.demo.cluster import (
    HOST,
    NODES_MAX,
    Cluster,
    ClusterError,
    NodePlan,
    Workload,
    clean_environment,
    free_port_pairs,
)
from mltbctl.demo.sweep import MARK_VARIABLE, marked
from tests.demo.api_client import python_environment, until

BOT = Workload(["bot", "--flag"], {"BOT_SETTING": 'quo"te\n'})
# A node with a workload that escapes into a session of its own; ends on SIGTERM, or not at all.
NODE = """
import signal, subprocess, sys, time
if sys.argv[1] == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"], start_new_session=True)
print("up", flush=True)
time.sleep(120)
"""


def node_command(kind: str = "polite") -> list[str]:
    return [sys.executable, "-c", NODE, kind]


def test_the_configuration_is_one_that_mltbd_accepts(tmp_path: Path) -> None:
    cluster = Cluster(3, tmp_path, BOT)
    assert cluster.nodes == ["n1", "n2", "n3"]
    for plan in cluster.plans.values():
        assert stat.S_IMODE(plan.config.stat().st_mode) == 0o600
        done = subprocess.run(
            [sys.executable, "-m", "mltbd.config.tool", "validate", "--config", str(plan.config)],
            env=python_environment(),
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    read = [tomllib.loads(plan.config.read_text()) for plan in cluster.plans.values()]
    assert len({found["CLUSTER_SECRET"] for found in read}) == 1
    assert [found["CLUSTER_BOOTSTRAP"] for found in read] == [True, False, False]
    assert [found["CLUSTER_NODE_PRIORITY"] for found in read] == [100, 90, 80]
    assert all(len(found["CLUSTER_SEED_NODES"]) == 2 for found in read)
    environment = read[1]["workload"]["main"]["env"]
    assert environment["BOT_SETTING"] == 'quo"te\n'
    assert environment[MARK_VARIABLE] == f"{tmp_path}/n2"


def test_ports_are_pairs_below_the_outgoing_range_and_free() -> None:
    ports = free_port_pairs(NODES_MAX)
    assert len({port + offset for port in ports for offset in (0, 1)}) == 2 * NODES_MAX
    assert max(ports) + 1 < module._outgoing_ports_from()
    for port in ports:
        for offset in (0, 1):
            with socket.socket() as listener:
                listener.bind((HOST, port + offset))


def test_no_free_ports_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PORT_TRIES", 0)
    with pytest.raises(ClusterError, match="no 1 free pairs"):
        free_port_pairs(1)


@pytest.mark.parametrize("size", [0, NODES_MAX + 1])
def test_sizes_outside_the_limits_are_refused(tmp_path: Path, size: int) -> None:
    with pytest.raises(ClusterError, match="outside 1 to 7"):
        Cluster(size, tmp_path, BOT)


def test_a_path_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="too long for a socket"):
        Cluster(1, tmp_path / ("x" * 100), BOT)


def test_the_users_settings_do_not_leak_into_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTER_PORT", "1")
    monkeypatch.setenv("MLTB_SOCKET", "/x")
    environment = clean_environment("x/n1")
    assert environment[MARK_VARIABLE] == "x/n1"
    assert not {"CLUSTER_PORT", "MLTB_SOCKET"} & environment.keys()
    assert environment["PATH"] == os.environ["PATH"]


def started(cluster: Cluster, count: int) -> None:
    for node in cluster.nodes:
        cluster.start(node)
    until("nodes and workloads are up", lambda: len(marked(cluster.mark)) == 2 * count)
    until("all nodes said so", lambda: all(cluster.log_tail(node) == "up" for node in cluster.nodes))


def test_killing_a_node_ends_its_escaped_workload_and_spares_the_others(tmp_path: Path) -> None:
    with Cluster(2, tmp_path, BOT, lambda _: node_command()) as cluster:
        started(cluster, 2)
        assert cluster.kill("n1") == 2
        assert cluster.processes("n1") == set()
        assert len(cluster.processes("n2")) == 2
        assert cluster.ended() == {}
        cluster.start("n1")
        until("it is back", lambda: len(cluster.processes("n1")) == 2)
    assert marked(cluster.mark) == set()


def test_stop_ends_what_does_not_listen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STOP_S", 0.1)
    kinds = {"n1": "polite", "n2": "deaf"}

    def command(plan: NodePlan) -> list[str]:
        return node_command(kinds[plan.node])

    cluster = Cluster(2, tmp_path, BOT, command)
    started(cluster, 2)
    cluster.stop()
    assert marked(cluster.mark) == set()
    cluster.stop()


def test_a_node_that_ends_by_itself_is_told_with_its_code_and_last_words(tmp_path: Path) -> None:
    script = "print('broken'); raise SystemExit(3)"
    with Cluster(1, tmp_path, BOT, lambda _: [sys.executable, "-c", script]) as cluster:
        assert cluster.log_tail("n1") == ""
        cluster.start("n1")
        until("it ended", lambda: cluster.ended() == {"n1": 3})
        assert cluster.log_tail("n1") == "broken"
