"""The daemon under a service manager: what it has its guard pass on, and what a reload does to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mltbd.orders import EXIT_ANEW, EXIT_CLEAN
from mltbd.runtime.kept import packed
from tests.daemon.runtime.test_daemon import PATIENCE_S, Child
from tests.transport.nodes import free_port
from tests.waiting import until


@pytest.fixture
def port() -> int:
    return free_port()


def meet(child: Child) -> None:
    """As a guard that a service manager started."""
    child.order("hello")
    child.report(**{"is": "hello", "kill_path": "walk", "restarts": 0, "workloads": [], "supervised": True})


def test_ready_is_told_and_a_reload_takes_over_what_it_can(tmp_path: Path, port: int) -> None:
    with Child(tmp_path, port) as child:
        meet(child)
        assert child.order("tell")["lines"][0] == "READY=1"
        assert child.path.exists(), "ready only once the socket is there"
        config = tmp_path / "mltb.toml"
        config.write_text('HA_LOG_LEVEL = "ERROR"\n' + config.read_text())
        child.report(**{"is": "reload"})
        while (line := child.order("tell")["lines"][0]) != "RELOADING=1":
            assert line in ("READY=1", "WATCHDOG=1")
        assert child.order("tell")["lines"][0] == "READY=1"
        assert child.process.poll() is None


def test_a_daemon_that_is_leaving_hands_over_first_whatever_is_reloaded(tmp_path: Path, port: int) -> None:
    """Its guard starts no other, and would stop the workload without its token being given back."""
    with Child(tmp_path, port) as child:
        meet(child)
        child.runs()
        child.report(**{"is": "stop"})
        token = child.order("stop")["token"]
        config = tmp_path / "mltb.toml"
        config.write_text("CLUSTER_NODE_PRIORITY = 7\n" + config.read_text())
        child.report(**{"is": "reload"})
        until(lambda: "this node is leaving" in child.log(), PATIENCE_S, child.log)
        child.report(**{"is": "gone", "workload": "main", "token": token, "cause": "stopped", "status": -15})
        assert child.ends() == EXIT_CLEAN


def test_a_daemon_that_must_start_anew_says_so_to_its_guard(tmp_path: Path, port: int) -> None:
    with Child(tmp_path, port) as child:
        meet(child)
        child.order("tell")
        config = tmp_path / "mltb.toml"
        config.write_text("CLUSTER_NODE_PRIORITY = 7\n" + config.read_text())
        child.report(**{"is": "reload"})
        child.order("keep", configuration=packed(config.read_bytes()))
        assert child.ends() == EXIT_ANEW
        assert "CLUSTER_NODE_PRIORITY changed: the daemon starts anew" in child.log()
