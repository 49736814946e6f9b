"""The contract, typed as an operator would, against three real nodes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mltb_transport.keys import new_secret
from mltbctl.demo.cluster import clean_environment, free_port_pairs
from tests.e2e.stage import PATIENCE_S, Stage, python_s
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")]

CALL_S = 60


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("contract"), 3, CLUSTER_LEASE_DURATION=1.0) as stage:
        yield stage


def mltbctl(stage: Stage, *words: str, node: str = "n1", **environment: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of one command, asked of one node's socket."""
    env = clean_environment(f"{stage.cluster.mark}/cli") | {
        "MLTB_SOCKET": str(stage.cluster.plans[node].socket),
        **environment,
    }
    done = subprocess.run(
        [sys.executable, "-m", "mltbctl", *words],
        env=env,
        capture_output=True,
        text=True,
        timeout=CALL_S,
        stdin=subprocess.DEVNULL,
    )
    return done.returncode, done.stdout, done.stderr


def as_json(stage: Stage, *words: str, node: str = "n1") -> Any:
    code, out, err = mltbctl(stage, *words, "-o", "json", node=node)
    assert code == 0, err
    return json.loads(out)


STATUS_KEYS = {
    "cluster": {
        "name", "id", "state", "is_healthy", "term", "leader", "quorum", "failure_tolerance", "total_nodes",
        "active_nodes", "paused",
    },
    "failover": {
        "state", "mode", "primary_node", "secondary_nodes", "last_failover_time", "failback_in_seconds",
    },
    "view": {"node", "age_seconds"},
    "locks": {"held"},
}  # fmt: skip
NODE_KEYS = {
    "id", "address", "port", "state", "role", "priority", "health", "incarnation", "last_seen_seconds", "rtt_ms",
    "applied_index", "lag", "version",
}  # fmt: skip
WORKLOAD_KEYS = {
    "name", "owner", "token", "state", "since", "pid", "health", "restarts", "lease_remaining_seconds",
}  # fmt: skip


@pytest.mark.parametrize("node", ["n1", "n2", "n3"])
def test_status_has_every_field_of_the_contract(stage: Stage, node: str) -> None:
    picture = as_json(stage, "status", node=node)
    assert picture["schema"] == 1
    for section, keys in STATUS_KEYS.items():
        assert keys <= picture[section].keys(), section
    assert {"voters", "needed", "reachable", "has_quorum"} <= picture["cluster"]["quorum"].keys()
    assert [each["id"] for each in picture["nodes"]] == ["n1", "n2", "n3"]
    assert all(each.keys() >= NODE_KEYS for each in picture["nodes"])
    assert [each["name"] for each in picture["workloads"]] == ["main"]
    assert picture["workloads"][0].keys() >= WORKLOAD_KEYS
    assert picture["cluster"]["quorum"] == {"voters": 3, "needed": 2, "reachable": 3, "has_quorum": True}
    assert picture["cluster"]["failure_tolerance"] == 1
    assert picture["view"]["node"] == node


def test_a_switchover_and_a_failback(stage: Stage) -> None:
    assert as_json(stage, "failback", "--yes")["state"] == "done"
    moved = as_json(stage, "switchover", "--to", "n3", "--yes")
    assert (moved["state"], moved["owner"]) == ("done", "n3")
    assert [phase["name"] for phase in moved["phases"]] == ["stop", "grant", "start"]
    assert moved["downtime_seconds"] < 3 + python_s()
    back = as_json(stage, "failback", "--yes", "--reason", "the end of the day", node="n2")
    assert (back["owner"], back["kind"]) == ("n1", "failback")
    assert back["token"] > moved["token"]
    again = as_json(stage, "failback", "--yes")
    assert again["operation"] is None, "it is there already"


def test_a_dry_run_changes_nothing(stage: Stage) -> None:
    before = as_json(stage, "status")["workloads"][0]["token"]
    plan = as_json(stage, "failover", "--dry-run")
    assert plan["operation"] is None
    assert {each["node"] for each in plan["plan"]["candidates"]} == {"n1", "n2", "n3"}
    assert as_json(stage, "status")["workloads"][0]["token"] == before


def test_refusals_say_why_and_what_to_type(stage: Stage) -> None:
    code, out, err = mltbctl(stage, "switchover", "--to", "n9", "--yes", "-o", "json")
    assert code == 2, "no node is called so"
    assert json.loads(out)["error"]["code"] == "usage"
    assert "n9" in err
    assert "hint: " in err
    code, _, err = mltbctl(stage, "switchover", "--to", "n2")
    assert code == 3, "no terminal, no --yes"
    assert "--yes" in err


@pytest.mark.parametrize(("words", "code"), [(("is", "healthy"), 0), (("is", "quorate"), 0), (("is", "paused"), 1)])
def test_predicates(stage: Stage, words: tuple[str, ...], code: int) -> None:
    until(lambda: as_json(stage, "status")["cluster"]["is_healthy"], PATIENCE_S, stage.picture)
    assert mltbctl(stage, *words)[0] == code
    assert mltbctl(stage, *words, "-q") == (code, "", "")


def test_leader_and_primary_are_told_apart_by_name(stage: Stage) -> None:
    picture = as_json(stage, "status")
    for node in ("n1", "n2", "n3"):
        leads = node == picture["cluster"]["leader"]
        assert mltbctl(stage, "is", "leader", node, node=node)[0] == (0 if leads else 1)
        runs = node == picture["workloads"][0]["owner"]
        assert mltbctl(stage, "is", "primary", node)[0] == (0 if runs else 1)
    assert mltbctl(stage, "wait", "primary", "--timeout", "30")[0] == 0


def test_from_another_machine_with_the_secret_and_without(stage: Stage) -> None:
    plan = stage.cluster.plans["n2"]
    address = f"{plan.host}:{plan.port + 1}"
    config = str(plan.config)
    code, out, err = mltbctl(stage, "--node", address, "--config", config, "status", "-o", "json")
    assert code == 0, err
    assert json.loads(out)["view"]["node"] == "n2"
    code, _, err = mltbctl(stage, "--node", address, "status", CLUSTER_SECRET=new_secret())
    assert code == 4, err


def test_nobody_there(stage: Stage, tmp_path: Path) -> None:
    code, _, err = mltbctl(stage, "status", MLTB_SOCKET=str(tmp_path / "none.sock"))
    assert code == 7
    assert "hint: " in err


def test_a_node_with_another_secret_stays_outside(stage: Stage, tmp_path: Path) -> None:
    (port,) = free_port_pairs(1)
    seeds = ",".join(f"{plan.host}:{plan.port}" for plan in stage.cluster.plans.values())
    environment = clean_environment(f"{stage.cluster.mark}/stranger") | {
        "CLUSTER_NODE_ID": "stranger", "CLUSTER_SEED_NODES": seeds, "CLUSTER_PORT": str(port),
        "CLUSTER_ADDRESS": stage.cluster.plans["n1"].host, "CLUSTER_SECRET": new_secret(), "CLUSTER_ENABLED": "True",
        "MLTB_CONFIG": str(tmp_path / "none.toml"), "MLTB_STATE_DIR": str(tmp_path), "MLTB_RUNTIME_DIR": str(tmp_path),
    }  # fmt: skip
    (tmp_path / "none.toml").touch(mode=0o600)
    with (tmp_path / "log").open("wb") as log:
        stranger = subprocess.Popen([sys.executable, "-m", "mltbd.main", "run"], env=environment, stderr=log)
    try:
        until((tmp_path / "mltb" / "stranger.sock").exists, PATIENCE_S, (tmp_path / "log").read_text)
        picture = as_json(stage, "status")
        assert {each["id"] for each in picture["nodes"]} == {"n1", "n2", "n3"}
    finally:
        stranger.send_signal(signal.SIGTERM)
        try:
            assert stranger.wait(PATIENCE_S) == 0
        finally:
            stranger.kill()
            stranger.wait()


def test_an_invalid_configuration_ends_with_2(stage: Stage, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mltbd.main", "run", "--state-dir", str(tmp_path), "--set", "CLUSTER_LEASE_DURATON=1"],
        env=clean_environment(f"{stage.cluster.mark}/invalid") | {"MLTB_CONFIG": os.devnull},
        capture_output=True,
        text=True,
        timeout=CALL_S,
    )
    assert done.returncode == 2
    assert "CLUSTER_LEASE_DURATION" in done.stderr, "did you mean"


def test_a_state_directory_in_use_ends_with_1(stage: Stage) -> None:
    done = subprocess.run(
        stage.cluster.plans["n1"].command(),
        env=clean_environment(f"{stage.cluster.mark}/second"),
        capture_output=True,
        text=True,
        timeout=CALL_S,
    )
    assert done.returncode == 1
    assert "error: " in done.stderr
