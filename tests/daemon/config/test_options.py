"""The table of options: complete, documented, and each default is a value of its own option."""

from __future__ import annotations

import pytest

from mltbd.config.options import NOT_BUILT, OPTIONS, PREFIXES, Option
from mltbd.config.parsing import parse_text, parse_value
from mltbd.config.problem import ValueProblem

NAMES = """
CLUSTER_ENABLED CLUSTER_NODE_ID CLUSTER_ADDRESS CLUSTER_PORT CLUSTER_SEED_NODES CLUSTER_HEARTBEAT_INTERVAL
CLUSTER_NODE_TIMEOUT CLUSTER_ELECTION_TIMEOUT CLUSTER_NODE_PRIORITY CLUSTER_LEASE_DURATION CLUSTER_SECRET
CLUSTER_INSECURE CLUSTER_ROLE CLUSTER_BOOTSTRAP CLUSTER_NAME FAILOVER_ENABLED FAILOVER_MODE FAILOVER_TIMEOUT
FAILOVER_HEALTH_CHECK_INTERVAL FAILOVER_FAILURE_THRESHOLD FAILOVER_MAX_ATTEMPTS FAILOVER_RECOVERY_WAIT_TIME
FAILOVER_PRIMARY_NODE FAILOVER_SECONDARY_NODES REPLICATION_ENABLED REPLICATION_MODE REPLICATION_CONSISTENCY
REPLICATION_CONFLICT_RESOLUTION REPLICATION_MASTER_NODE REPLICATION_SLAVE_NODES REPLICATION_SYNC_INTERVAL
REPLICATION_BATCH_SIZE REPLICATION_ASYNC_WRITES REPLICATION_REPLICATE_TASKS REPLICATION_REPLICATE_CONFIG
REPLICATION_REPLICATE_STATS REPLICATION_REPLICATE_LOGS DISTRIBUTED_STATE_ENABLED DISTRIBUTED_STATE_BACKEND
DISTRIBUTED_STATE_SYNC_INTERVAL DISTRIBUTED_STATE_CONSISTENCY DISTRIBUTED_LOCKS_ENABLED
DISTRIBUTED_LOCK_DEFAULT_TTL DISTRIBUTED_LOCK_AUTO_EXTEND DISTRIBUTED_LOCK_EXTEND_INTERVAL
HEALTH_MONITOR_ENABLED HEALTH_CHECK_INTERVAL HEALTH_CHECK_TIMEOUT HEALTH_FAILURE_THRESHOLD
HEALTH_RECOVERY_ENABLED HEALTH_CHECK_NODES HEALTH_CHECK_DATABASE HEALTH_CHECK_CACHE HEALTH_CHECK_QUEUE
HEALTH_CHECK_STORAGE HEALTH_CHECK_API HA_STRATEGY HA_MIN_NODES HA_QUORUM_SIZE SPLIT_BRAIN_PREVENTION
HA_ALERT_ON_FAILOVER HA_ALERT_ON_NODE_DOWN HA_ALERT_ON_SPLIT_BRAIN HA_ALERT_ON_REPLICATION_LAG
HA_REPLICATION_LAG_THRESHOLD HA_NETWORK_TIMEOUT HA_OPERATION_TIMEOUT HA_RETRY_ATTEMPTS HA_RETRY_BACKOFF
HA_MAX_CONCURRENT_OPERATIONS HA_CONNECTION_POOL_SIZE HA_COMPRESSION_ENABLED HA_ENCRYPTION_ENABLED
HA_BACKUP_ENABLED HA_BACKUP_INTERVAL HA_BACKUP_RETENTION HA_DEBUG_MODE HA_LOG_LEVEL HA_METRICS_ENABLED
"""
DOCUMENTED = frozenset(NAMES.split())

every = pytest.mark.parametrize("option", OPTIONS.values(), ids=lambda option: option.name)


def test_no_documented_option_is_missing_and_the_additions_are_known() -> None:
    assert set(OPTIONS) >= DOCUMENTED
    assert set(OPTIONS) - DOCUMENTED == {
        "CLUSTER_ADVERTISE_ADDRESS", "CLUSTER_SECRET_FILE", "CLUSTER_SECRET_SECOND", "CLUSTER_ACCEPT_RISK",
        "HA_LOG_FORMAT",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("CLUSTER_PORT", 7946),
        ("CLUSTER_HEARTBEAT_INTERVAL", 5),
        ("CLUSTER_NODE_TIMEOUT", 15),
        ("CLUSTER_ELECTION_TIMEOUT", 10),
        ("CLUSTER_NODE_PRIORITY", 100),
        ("FAILOVER_TIMEOUT", 30),
        ("FAILOVER_FAILURE_THRESHOLD", 3),
        ("FAILOVER_RECOVERY_WAIT_TIME", 60),
        ("REPLICATION_BATCH_SIZE", 100),
        ("HEALTH_CHECK_INTERVAL", 30),
        ("HA_MIN_NODES", 2),
        ("HA_QUORUM_SIZE", 2),
        ("HA_BACKUP_RETENTION", 7),
        ("CLUSTER_ENABLED", False),
        ("FAILOVER_ENABLED", False),
        ("SPLIT_BRAIN_PREVENTION", True),
        ("HA_METRICS_ENABLED", True),
        ("HA_LOG_LEVEL", "INFO"),
        ("HA_STRATEGY", "active_passive"),
    ],
)
def test_defaults_are_those_of_the_documentation(name: str, default: object) -> None:
    assert OPTIONS[name].default == default


def test_what_comes_with_the_log_is_on_unless_switched_off() -> None:
    """Otherwise than documented, and told as the default that it is."""
    assert OPTIONS["DISTRIBUTED_STATE_ENABLED"].default is True
    assert OPTIONS["DISTRIBUTED_LOCKS_ENABLED"].default is True


@every
def test_every_option_is_documented_and_ours_by_its_name(option: Option) -> None:
    assert 5 <= len(option.doc) <= 80
    assert not option.doc.endswith(".")
    assert option.name.startswith(PREFIXES)


@every
def test_every_default_parses_back_to_itself(option: Option) -> None:
    if option.default is None:
        return
    raw = list(option.default) if isinstance(option.default, tuple) else option.default
    text = ",".join(option.default) if isinstance(option.default, tuple) else str(option.default)
    assert parse_value(option, raw) == option.default
    assert parse_text(option, text) == option.default


@every
def test_every_range_refuses_what_is_just_outside(option: Option) -> None:
    if option.low is None or option.high is None:
        assert option.kind not in ("int", "seconds", "number")
        return
    below, above = option.low - 1, option.high + 1
    for outside in (below, above):
        with pytest.raises(ValueProblem, match="outside"):
            parse_value(option, int(outside) if option.kind == "int" else outside)
    for limit in (option.low, option.high):
        assert parse_value(option, int(limit) if option.kind == "int" else limit) == limit


def test_only_the_secret_is_secret() -> None:
    assert [option.name for option in OPTIONS.values() if option.secret] == [
        "CLUSTER_SECRET", "CLUSTER_SECRET_SECOND",
    ]  # fmt: skip


def test_each_feature_that_is_not_built_has_options() -> None:
    assert set(NOT_BUILT) <= {option.feature for option in OPTIONS.values()}
