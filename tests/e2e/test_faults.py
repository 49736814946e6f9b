"""Real processes, real signals: whatever dies or stops, the workload never runs twice, and runs again in time."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from mltbctl.demo.runs import Run, now_ns
from mltbctl.demo.sweep import descendants
from tests.e2e.stage import PATIENCE_S, Stage, python_s
from tests.waiting import holds, until

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")]


def gap_s(stage: Stage, before: Run) -> float:
    """From the last instant of one run to the first of the next, which is waited for."""
    until(lambda: stage.runs()[-1].first_ns > before.first_ns, PATIENCE_S, stage.picture)
    runs = stage.runs()
    place = next(i for i, run in enumerate(runs) if run.pid == before.pid and run.first_ns == before.first_ns)
    return (runs[place + 1].first_ns - runs[place].last_ns) / 1e9


@pytest.mark.parametrize("lease", [1.0, 3.0])
def test_loss_of_the_owners_machine(tmp_path: Path, lease: float) -> None:
    with Stage(tmp_path, 3, CLUSTER_LEASE_DURATION=lease) as stage:
        owner = stage.owner()
        assert owner
        before = stage.runs()[-1]
        stage.cluster.kill(owner)
        until(lambda: stage.owner(*stage.others(owner)) not in (None, owner), PATIENCE_S, stage.picture)
        assert gap_s(stage, before) < lease + 0.5 + python_s()
        stage.cluster.start(owner)
        until(lambda: stage.status(owner) and stage.leader(owner), PATIENCE_S, stage.picture)


@pytest.mark.parametrize(("lease", "crashes"), [(1.0, 1), (3.0, 3)])
def test_a_daemons_crash_does_not_restart_the_workload(tmp_path: Path, lease: float, crashes: int) -> None:
    """As long as the new daemon answers within a third of a lease: what Python takes to start is not our promise."""
    with Stage(tmp_path, 3, CLUSTER_LEASE_DURATION=lease) as stage:
        owner = stage.owner()
        assert owner
        for _ in range(crashes):
            pid = stage.workload(owner)
            daemon = stage.daemon(owner)
            assert daemon
            os.kill(daemon, signal.SIGKILL)
            killed_at = time.monotonic()
            until(partial(another_daemon, stage, owner, daemon), PATIENCE_S, "another daemon")
            until(partial(stage.status, owner), PATIENCE_S, "it answers")
            if time.monotonic() - killed_at < lease / 3:
                assert stage.workload(owner) == pid


@pytest.mark.parametrize("cut", ["EASE_DURATION", "[workload.main]"])
def test_a_file_that_is_half_written_costs_neither_node_nor_workload(tmp_path: Path, cut: str) -> None:
    with Stage(tmp_path, 1, CLUSTER_LEASE_DURATION=20.0, FAILOVER_TIMEOUT=300) as stage:
        pid, config = stage.workload("n1"), stage.cluster.plans["n1"].config
        whole = config.read_text()
        config.write_text(whole[: whole.index(cut)])
        for _ in range(2):
            daemon = stage.daemon("n1")
            assert daemon
            os.kill(daemon, signal.SIGKILL)
            until(partial(another_daemon, stage, "n1", daemon), PATIENCE_S, stage.picture)
            until(lambda: stage.status("n1") and stage.workload("n1") == pid, PATIENCE_S, stage.picture)
        config.write_text(whole)
        os.kill(stage.cluster.pid("n1"), signal.SIGHUP)
        until(lambda: "reloaded: nothing has changed" in stage.logs(), PATIENCE_S, stage.picture)
        assert stage.workload("n1") == pid


def test_a_leaders_loss_does_not_touch_the_workload_on_another_node(tmp_path: Path) -> None:
    with Stage(tmp_path, 3) as stage:
        leader, owner = stage.leader(), stage.owner()
        if leader == owner:
            assert owner
            target = stage.others(owner)[0]
            move(stage, target)
            owner = target
        assert leader
        assert leader != owner
        count = len(stage.runs())
        stage.cluster.kill(leader)
        until(lambda: stage.leader(*stage.others(leader)) not in (None, leader), PATIENCE_S, stage.picture)
        holds(lambda: len(stage.runs()) == count, stage.lease_s, "no new run")
        until(lambda: stage.owner(*stage.others(leader)) == owner, PATIENCE_S, stage.picture)


def test_a_frozen_daemon_loses_the_workload_and_nothing_overlaps(tmp_path: Path) -> None:
    with Stage(tmp_path, 3, CLUSTER_LEASE_DURATION=1.0) as stage:
        owner = stage.owner()
        assert owner
        before = stage.runs()[-1]
        daemon = stage.daemon(owner)
        assert daemon
        os.kill(daemon, signal.SIGSTOP)
        until(lambda: stage.owner(*stage.others(owner)) not in (None, owner), PATIENCE_S, stage.picture)
        os.kill(daemon, signal.SIGCONT)
        until(lambda: stage.leader(owner), PATIENCE_S, stage.picture)
        assert gap_s(stage, before) > 0


@pytest.mark.parametrize("flag", [None, "--child"])
def test_a_killed_guard_takes_everything_with_it(tmp_path: Path, flag: str | None) -> None:
    with Stage(tmp_path, 3, *([flag] if flag else []), CLUSTER_LEASE_DURATION=1.0) as stage:
        owner = stage.owner()
        assert owner
        os.kill(stage.cluster.pid(owner), signal.SIGKILL)
        until(lambda: stage.owner(*stage.others(owner)) not in (None, owner), PATIENCE_S, stage.picture)


def test_a_frozen_guard_cannot_keep_the_workload(tmp_path: Path) -> None:
    """Guard and daemon both stopped: the sentinel ends the workload at the deadline."""
    with Stage(tmp_path, 3, CLUSTER_LEASE_DURATION=1.0) as stage:
        owner = stage.owner()
        assert owner
        daemon = stage.daemon(owner)
        os.kill(stage.cluster.pid(owner), signal.SIGSTOP)
        assert daemon
        os.kill(daemon, signal.SIGSTOP)
        until(lambda: stage.owner(*stage.others(owner)) not in (None, owner), PATIENCE_S, stage.picture)


@pytest.mark.parametrize(("lease", "again"), [(1.0, False), (1.0, True), (3.0, False)])
def test_all_of_mltbd_stopped_at_once_cannot_keep_the_workload(tmp_path: Path, lease: float, again: bool) -> None:
    """`pkill -STOP -f mltbd`, which finds daemon, guard and sentinel; or twice, with a moment of life in between."""
    with Stage(tmp_path, 3, CLUSTER_LEASE_DURATION=lease) as stage:
        owner = stage.owner()
        assert owner
        before = stage.runs()[-1]
        guard, daemon = stage.cluster.pid(owner), stage.daemon(owner)
        assert daemon
        sentinel = next(pid for pid in descendants(guard) if stat(pid)[0] == "mltb-sentinel")
        family = (guard, daemon, sentinel)
        for pid in family:
            os.kill(pid, signal.SIGSTOP)
        if again:
            watchers = (guard, sentinel)
            until(lambda: any(stat(pid)[1] != "T" for pid in watchers), PATIENCE_S, "one is continued", pause_s=0.0)
            for pid in reversed(family):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
        until(lambda: stage.owner(*stage.others(owner)) not in (None, owner), PATIENCE_S, stage.picture)
        assert gap_s(stage, before) > 0
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def test_a_killed_workload_starts_again_on_its_node(tmp_path: Path) -> None:
    with Stage(tmp_path, 3) as stage:
        owner = stage.owner()
        assert owner
        os.kill(stage.workload(owner), signal.SIGKILL)
        until(lambda: len(stage.runs()) == 2 and stage.owner() == owner, PATIENCE_S, stage.picture)


def test_an_owner_that_lost_every_peer_stops_within_the_lease(tmp_path: Path) -> None:
    with Stage(tmp_path, 3, "--stubborn") as stage:
        owner = stage.owner()
        assert owner
        for node in stage.others(owner):
            stage.cluster.kill(node)
        alone_ns = now_ns()
        last = stage.runs()[-1]
        until(lambda: not Path(f"/proc/{last.pid}").exists(), PATIENCE_S, stage.picture)
        # Whenever we come to look: its own stamps say when it stopped.
        assert stage.runs()[-1].last_ns - alone_ns < stage.lease_s * 1e9
        until(lambda: stage.status(owner) and not stage.owner(owner), PATIENCE_S, stage.picture)
        picture = stage.status(owner)
        assert picture is not None
        assert picture["cluster"]["leader"] is None
        assert picture["cluster"]["quorum"]["has_quorum"] is False
        assert picture["cluster"]["failure_tolerance"] == 0


def test_a_graceful_stop_hands_over(tmp_path: Path) -> None:
    with Stage(tmp_path, 3) as stage:
        owner = stage.owner()
        assert owner
        before = stage.runs()[-1]
        os.kill(stage.cluster.pid(owner), signal.SIGTERM)
        assert stage.cluster.wait(owner, PATIENCE_S) == 0
        until(lambda: stage.owner(*stage.others(owner)) not in (None, owner), PATIENCE_S, stage.picture)
        assert gap_s(stage, before) < 0.5 + python_s()


def test_one_node_alone(tmp_path: Path) -> None:
    with Stage(tmp_path, 1) as stage:
        assert stage.owner() == "n1"
        stage.cluster.kill("n1")
        stage.cluster.start("n1")
        until(lambda: stage.owner() == "n1" and len(stage.runs()) == 2, PATIENCE_S, stage.picture)


def another_daemon(stage: Stage, node: str, before: int) -> bool:
    return stage.daemon(node) not in (None, before)


def stat(pid: int) -> tuple[str, str]:
    """The name and the letter that `ps` shows; two empty ones for no process."""
    try:
        before, _, after = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
    except OSError:
        return "", ""
    return before.partition("(")[2], after.split()[0]


def move(stage: Stage, target: str) -> None:
    """Switch over and wait for it."""
    from mltbctl.client import Client

    before = stage.runs()[-1]
    with Client(str(stage.cluster.plans[target].socket)) as client:
        operation = client.switchover(target)["operation"]
        until(lambda: client.operation(operation)["state"] == "done", PATIENCE_S, stage.picture)
    assert gap_s(stage, before) < 0.5 + python_s()
    until(lambda: stage.owner() == target, PATIENCE_S, stage.picture)
