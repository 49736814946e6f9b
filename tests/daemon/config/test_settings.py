"""`load` as a whole: every option that is built reaches a field of Settings, and the secret is never shown."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

import pytest

from mltb_transport.keys import new_secret
from mltbd.config.machine import outward_address, this_machine
from mltbd.config.options import OPTIONS
from mltbd.config.settings import load
from tests.daemon.config.machines import EMPTY_FILE, SECRET, loaded, machine, problem, settings

ON = ("CLUSTER_ENABLED=1", "HA_MIN_NODES=3", f"CLUSTER_SECRET={SECRET}")
EFFECTS = {
    "CLUSTER_ENABLED": ("0", {"cluster_enabled", "failover_enabled"}),
    "CLUSTER_NODE_ID": ("n7", {"node_id"}),
    "CLUSTER_NAME": ("lab", {"cluster_name"}),
    "CLUSTER_ADDRESS": ("10.7.7.7", {"address", "advertise_address"}),
    "CLUSTER_ADVERTISE_ADDRESS": ("bot.example", {"advertise_address"}),
    "CLUSTER_PORT": ("8000", {"port"}),
    "CLUSTER_SEED_NODES": ("a:1,b:2", {"seeds"}),
    "CLUSTER_HEARTBEAT_INTERVAL": ("1", {"heartbeat_s"}),
    "CLUSTER_NODE_TIMEOUT": ("20", {"node_timeout_s"}),
    "CLUSTER_ROLE": ("witness", {"role"}),
    "CLUSTER_BOOTSTRAP": ("1", {"founder"}),
    "CLUSTER_SECRET": ("", {"secret", "address", "advertise_address"}),
    "CLUSTER_SECRET_SECOND": (new_secret(), {"other_secret"}),
    "CLUSTER_ELECTION_TIMEOUT": ("2", {"timing"}),
    "CLUSTER_NODE_PRIORITY": ("7", {"priority"}),
    "CLUSTER_LEASE_DURATION": ("2", {"timing"}),
    "FAILOVER_ENABLED": ("0", {"failover_enabled"}),
    "FAILOVER_MODE": ("manual", {"failover_mode"}),
    "FAILOVER_TIMEOUT": ("20", {"failover_timeout_s"}),
    "FAILOVER_HEALTH_CHECK_INTERVAL": ("2", {"health_check_interval_s"}),
    "FAILOVER_FAILURE_THRESHOLD": ("5", {"failure_threshold"}),
    "FAILOVER_MAX_ATTEMPTS": ("5", {"max_attempts"}),
    "FAILOVER_RECOVERY_WAIT_TIME": ("0", {"recovery_wait_s"}),
    "FAILOVER_PRIMARY_NODE": ("n9", {"primary_node"}),
    "FAILOVER_SECONDARY_NODES": ("n2,n3", {"secondary_nodes"}),
    "HA_MIN_NODES": ("5", {"min_nodes", "quorum_size"}),
    "HA_QUORUM_SIZE": ("3", {"quorum_size"}),
    "HA_STRATEGY": ("distributed", {"spread"}),
    "DISTRIBUTED_STATE_ENABLED": ("0", {"state_enabled"}),
    "DISTRIBUTED_LOCKS_ENABLED": ("0", {"locks_enabled"}),
    "DISTRIBUTED_LOCK_DEFAULT_TTL": ("45", {"lock_ttl_s"}),
    "DISTRIBUTED_LOCK_AUTO_EXTEND": ("0", {"lock_extend_s"}),
    "DISTRIBUTED_LOCK_EXTEND_INTERVAL": ("5", {"lock_extend_s"}),
    "HA_NETWORK_TIMEOUT": ("2", {"network_timeout_s"}),
    "HA_OPERATION_TIMEOUT": ("20", {"operation_timeout_s"}),
    "HA_DEBUG_MODE": ("1", {"log_level"}),
    "HA_LOG_LEVEL": ("ERROR", {"log_level"}),
    "HA_LOG_FORMAT": ("json", {"log_format"}),
}
JUDGED = {
    "CLUSTER_SECRET_FILE": "read by derive",
    "CLUSTER_INSECURE": "changes where a node without a secret listens",
    "HA_ENCRYPTION_ENABLED": "refused where it contradicts the secret",
    "SPLIT_BRAIN_PREVENTION": "refused but for true, or with the risk typed, see test_a_typed_risk",
    "DISTRIBUTED_STATE_CONSISTENCY": "any of its words: what runs is as strong as the strongest",
    "CLUSTER_ACCEPT_RISK": "lets SPLIT_BRAIN_PREVENTION be off",
    "HEALTH_MONITOR_ENABLED": "switches the checks that are written, see test_checks",
    "HEALTH_CHECK_INTERVAL": "a default of those checks",
    "HEALTH_CHECK_TIMEOUT": "a default of those checks",
    "HEALTH_FAILURE_THRESHOLD": "a default of those checks",
}
"""Options that decide about validity instead of reaching a field; each has its own tests."""


def test_every_option_that_is_built_has_an_effect() -> None:
    assert set(EFFECTS) | set(JUDGED) == {option.name for option in OPTIONS.values() if option.built}


@pytest.mark.parametrize("name", EFFECTS)
def test_setting_an_option_changes_its_fields_and_no_others(name: str) -> None:
    text, fields = EFFECTS[name]
    before, after = asdict(settings(loaded(*ON))), asdict(settings(loaded(*ON, f"{name}={text}")))
    assert {field for field in before if before[field] != after[field]} == fields


def test_the_defaults_are_valid_and_run_nothing() -> None:
    found = settings(loaded())
    assert found.cluster_enabled is False
    assert found.workloads == ()
    assert (found.port, found.priority, found.timing.lease_s, found.log_level) == (7946, 100, 3.0, "INFO")


def test_an_error_leaves_no_settings_and_comes_first() -> None:
    found = loaded("CLUSTER_ENABLED=1", "CLUSTER_PORT=0")
    assert found.settings is None
    assert [item.level for item in found.problems] == sorted(item.level for item in found.problems)


def test_the_secret_is_never_in_a_repr() -> None:
    found = loaded(*ON)
    assert SECRET not in repr(found)
    assert SECRET not in repr(found.settings)
    assert settings(found).secret == SECRET


def test_the_file_comes_from_flag_then_environment(tmp_path: Path) -> None:
    one, two = tmp_path / "one.toml", tmp_path / "two.toml"
    one.write_text("CLUSTER_PORT = 1001", encoding="utf-8")
    two.write_text("CLUSTER_PORT = 1002", encoding="utf-8")
    environ = {"MLTB_CONFIG": str(two)}
    assert load(None, one, [], environ, machine()).config_path == one
    found = load(None, None, [], environ, machine())
    assert (found.config_path, settings(found).port) == (two, 1002)
    absent = load(None, None, [], {"MLTB_CONFIG": str(tmp_path / "absent")}, machine())
    assert absent.settings is None


def test_this_machine_has_a_name_and_routes() -> None:
    here = this_machine()
    assert here.hostname == os.uname().nodename
    assert here.root is (os.geteuid() == 0)
    assert outward_address("127.0.0.1") == "127.0.0.1"
    assert outward_address("not an address") is None
    assert load(None, EMPTY_FILE, [], {}).settings is not None


def test_a_typed_risk_and_only_that_takes_the_lease_off() -> None:
    assert settings(loaded()).lease_enforced
    risky = loaded("SPLIT_BRAIN_PREVENTION=False", "CLUSTER_ACCEPT_RISK=two_owners")
    assert not settings(risky).lease_enforced
    assert "two copies" in problem(risky, "SPLIT_BRAIN_PREVENTION", "warning").message
    assert "two copies" in problem(loaded("SPLIT_BRAIN_PREVENTION=False"), "SPLIT_BRAIN_PREVENTION").message
    untaken = loaded("CLUSTER_ACCEPT_RISK=two_owners")
    assert "nothing takes it" in problem(untaken, "CLUSTER_ACCEPT_RISK", "warning").message
