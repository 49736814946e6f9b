"""The rules on workloads and checks: what is refused, what is worth a warning, and the arithmetic in the words."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.daemon.config.machines import keys, loaded, problem, settings

ON = """
CLUSTER_ENABLED = true
CLUSTER_ADDRESS = "127.0.0.1"
CLUSTER_SEED_NODES = ["127.0.0.1:1", "127.0.0.1:3"]
HA_MIN_NODES = 3
"""
MAIN = ON + '[workload.main]\ncommand = ["bot"]\n'
CHECK = '[[workload.main.check]]\nkind = "tcp"\naddress = "127.0.0.1:80"\n'


def hooks(timeout_s: float) -> str:
    return f'hooks = {{ post_stop = ["tidy"], timeout = {timeout_s} }}\n'


def test_a_move_that_ends_before_the_stop_is_worth_a_warning_with_the_arithmetic(tmp_path: Path) -> None:
    found = loaded(toml=MAIN + hooks(60), folder=tmp_path)
    told = problem(found, "workload.main.hooks", "warning")
    assert "may take 61 s (1 s, then 60 s of `post_stop`), but a move is given up after 30 s" in told.message
    assert "FAILOVER_TIMEOUT above 61" in told.hint
    assert settings(found)
    assert keys(loaded("FAILOVER_TIMEOUT=61", toml=MAIN + hooks(60), folder=tmp_path), "warning") != []
    assert keys(loaded("FAILOVER_TIMEOUT=62", toml=MAIN + hooks(60), folder=tmp_path), "warning") == []
    assert keys(loaded(toml=MAIN + hooks(60).replace("post_stop", "pre_stop"), folder=tmp_path), "warning") == []


def test_a_witness_with_a_workload_is_told_that_it_runs_nothing(tmp_path: Path) -> None:
    found = loaded("CLUSTER_ROLE=witness", toml=MAIN, folder=tmp_path)
    assert "`main` never runs on this node" in problem(found, "CLUSTER_ROLE", "warning").message
    assert keys(loaded("CLUSTER_ROLE=witness", toml=ON, folder=tmp_path), "warning") == []


def test_checks_that_are_written_and_switched_off_are_told(tmp_path: Path) -> None:
    node = '[[check]]\nkind = "disk"\npath = "/"\n'
    found = loaded("HEALTH_MONITOR_ENABLED=0", toml=MAIN + CHECK + node, folder=tmp_path)
    told = problem(found, "HEALTH_MONITOR_ENABLED", "warning").message
    assert "nothing is looked at that is written in `[[check]]` and `[[workload.main.check]]`" in told
    assert keys(loaded(toml=MAIN + CHECK + node, folder=tmp_path), "warning") == []
    assert keys(loaded("HEALTH_MONITOR_ENABLED=0", toml=MAIN, folder=tmp_path), "warning") == []


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ("interval = 1\ntimeout = 60", "every 1 s, but one look may take 60 s"),
        ("interval = 2\ntimeout = 2", "every 2 s, but one look may take 2 s"),
        ("timeout = 30", "every 30 s, but one look may take 30 s"),
    ],
)
@pytest.mark.parametrize("key", ["workload.main.check", "check"])
def test_a_check_is_over_before_it_begins_again(tmp_path: Path, key: str, numbers: str, message: str) -> None:
    found = loaded(toml=MAIN + CHECK.replace("workload.main.check", key) + numbers, folder=tmp_path)
    assert message in problem(found, key).message
    assert found.settings is None


def test_an_interval_below_the_general_timeout_is_told_when_something_can_hang(tmp_path: Path) -> None:
    told = problem(loaded(toml=MAIN + CHECK + "interval = 1", folder=tmp_path), "workload.main.check", "warning")
    assert "may take 5 s (HEALTH_CHECK_TIMEOUT), so what hangs is UNHEALTHY only after 18 s" in told.message
    quick = CHECK.replace("tcp", "process").replace('address = "127.0.0.1:80"\n', "")
    for text in (CHECK + "interval = 1\ntimeout = 0.5", quick + "interval = 1", CHECK):
        found = loaded(toml=MAIN + text, folder=tmp_path)
        assert (keys(found), keys(found, "warning")) == ([], [])
