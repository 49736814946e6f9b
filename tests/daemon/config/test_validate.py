"""Each rule of validation: what breaks it, what keeps it, and that the message names the thing and the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from mltbd.config.options import OPTIONS, STRATEGIES
from mltbd.config.validate import NEEDS_CLUSTER
from tests.daemon.config.machines import keys, loaded, problem, settings


@pytest.mark.parametrize("name", NEEDS_CLUSTER)
def test_what_needs_the_cluster_says_so(name: str) -> None:
    messages = [item.message for item in loaded(f"{name}=True").problems if item.key == name]
    assert f"`{name}` needs the cluster" in messages
    with_cluster = loaded(f"{name}=True", "CLUSTER_ENABLED=True").problems
    assert not [item for item in with_cluster if "needs the cluster" in item.message]


def test_a_workload_needs_the_cluster_as_well(tmp_path: Path) -> None:
    toml = 'CLUSTER_ENABLED = false\n[workload.main]\ncommand = ["x"]'
    assert "`main` needs the cluster" in problem(loaded(toml=toml, folder=tmp_path), "CLUSTER_ENABLED").message


OTHER = {"bool": None, "seconds": 7.5, "number": 9.0, "int": 8, "nodes": "n2", "node": "n2"}


@pytest.mark.parametrize(
    "name", [option.name for option in OPTIONS.values() if not option.built], ids=lambda name: name
)
@pytest.mark.parametrize("by", ["toml", "environ", "set"])
def test_an_option_of_a_feature_that_is_not_built_is_refused(tmp_path: Path, name: str, by: str) -> None:
    option = OPTIONS[name]
    if option.kind == "bool":
        text = str(not option.default).lower()
    elif option.kind == "choice":
        text = next(choice for choice in option.choices if choice != option.default)
    else:
        text = str(OTHER[option.kind])
    quoted = f'"{text}"' if option.kind in ("choice", "nodes", "node") else text
    found = {
        "toml": lambda: loaded(toml=f"{name} = {quoted}", folder=tmp_path),
        "environ": lambda: loaded(environ={name: text}),
        "set": lambda: loaded(f"{name}={text}"),
    }[by]()
    messages = [item.message for item in found.problems if item.key == name and item.level == "error"]
    assert f"`{name}` belongs to {option.feature}, which this version does not have" in messages
    assert found.settings is None


@pytest.mark.parametrize("name", [option.name for option in OPTIONS.values() if not option.built])
def test_its_documented_default_may_be_typed(name: str) -> None:
    default = OPTIONS[name].default
    text = ",".join(default) if isinstance(default, tuple) else str(default)
    assert keys(loaded(f"{name}={text}")) == []


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_is_taken(strategy: str) -> None:
    assert keys(loaded(f"HA_STRATEGY={strategy}")) == []


@pytest.mark.parametrize(
    ("sets", "key", "message"),
    [
        (["FAILOVER_FAILURE_THRESHOLD=0"], "FAILOVER_FAILURE_THRESHOLD", "outside 1 to"),
        (["FAILOVER_MAX_ATTEMPTS=0"], "FAILOVER_MAX_ATTEMPTS", "outside 1 to"),
        (["HEALTH_FAILURE_THRESHOLD=0"], "HEALTH_FAILURE_THRESHOLD", "outside 1 to"),
        (["HA_MIN_NODES=0"], "HA_MIN_NODES", "outside 1 to"),
        (["HA_QUORUM_SIZE=0"], "HA_QUORUM_SIZE", "outside 1 to"),
        (["FAILOVER_MODE=auto"], "FAILOVER_MODE", "`automatic`, `manual`"),
        (["REPLICATION_MODE=x"], "REPLICATION_MODE", "`master_slave`"),
        (["HA_MIN_NODES=3", "HA_QUORUM_SIZE=1"], "HA_QUORUM_SIZE", "1 of 3 nodes is less than the majority, 2"),
        (["HA_MIN_NODES=5", "HA_QUORUM_SIZE=2"], "HA_QUORUM_SIZE", "never lowered"),
        (["HA_MIN_NODES=3", "HA_QUORUM_SIZE=4"], "HA_QUORUM_SIZE", "never reached by the 3 nodes"),
        (["SPLIT_BRAIN_PREVENTION=False"], "SPLIT_BRAIN_PREVENTION", "two copies"),
        (["CLUSTER_HEARTBEAT_INTERVAL=15"], "CLUSTER_HEARTBEAT_INTERVAL", "too rare"),
        (["CLUSTER_HEARTBEAT_INTERVAL=20"], "CLUSTER_HEARTBEAT_INTERVAL", "too rare"),
        (["CLUSTER_LEASE_DURATION=0.4"], "CLUSTER_LEASE_DURATION", "outside 0.5 to 300 s"),
        (["CLUSTER_LEASE_DURATION=301", "FAILOVER_TIMEOUT=900"], "CLUSTER_LEASE_DURATION", "outside 0.5 to 300"),
        (["CLUSTER_ELECTION_TIMEOUT=0.1"], "CLUSTER_ELECTION_TIMEOUT", "silence is noticed only after"),
        (["FAILOVER_TIMEOUT=3"], "FAILOVER_TIMEOUT", "a failover first waits out the lease, 3 s"),
    ],
)
def test_what_is_refused(sets: list[str], key: str, message: str) -> None:
    found = loaded(*sets)
    assert message in problem(found, key).message
    assert found.settings is None


def test_a_check_interval_must_leave_time_for_the_check() -> None:
    found = loaded("HEALTH_CHECK_INTERVAL=5", "HEALTH_CHECK_TIMEOUT=5")
    assert any("may still run when the next begins" in item.message for item in found.problems)
    kept = loaded("HEALTH_CHECK_INTERVAL=6", "HEALTH_CHECK_TIMEOUT=5")
    assert not any("may still run" in item.message for item in kept.problems)


def test_the_heartbeat_may_be_just_below_the_node_timeout() -> None:
    assert keys(loaded("CLUSTER_HEARTBEAT_INTERVAL=14.9")) == []


def test_a_lease_too_short_through_the_node_timeout_is_refused_with_the_arithmetic() -> None:
    found = problem(loaded("CLUSTER_NODE_TIMEOUT=0.5", "CLUSTER_HEARTBEAT_INTERVAL=0.1"), "CLUSTER_LEASE_DURATION")
    assert "a lease of 0.25 s is outside" in found.message
    assert found.origin == "derived from CLUSTER_NODE_TIMEOUT"


def test_a_raised_quorum_is_allowed_and_worth_a_warning() -> None:
    found = loaded("HA_MIN_NODES=5", "HA_QUORUM_SIZE=4")
    assert "only 1 may be lost" in problem(found, "HA_QUORUM_SIZE", "warning").message
    assert settings(found).quorum_size == 4


def test_an_answer_may_not_take_longer_than_the_operation() -> None:
    assert keys(loaded("HA_NETWORK_TIMEOUT=31"), "warning") == ["HA_NETWORK_TIMEOUT"]
    assert keys(loaded("HA_NETWORK_TIMEOUT=30"), "warning") == []


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["HA_MIN_NODES=1"], None),
        (["HA_MIN_NODES=2"], "two nodes cannot both be safe and available"),
        (["HA_MIN_NODES=3"], None),
        (["HA_MIN_NODES=4"], "4 voters survive no more losses than 3: 1"),
        (["HA_MIN_NODES=6"], "6 voters survive no more losses than 5: 2"),
        (["CLUSTER_SEED_NODES=a:1"], "two nodes cannot both"),
        (["CLUSTER_SEED_NODES=a:1,b:1"], None),
        (["CLUSTER_SEED_NODES=a:1,b:1,c:1"], "4 voters"),
        (["CLUSTER_SEED_NODES=a:1,b:1,box:7946"], None),
    ],
)
def test_even_numbers_of_voters_are_worth_a_warning(sets: list[str], message: str | None) -> None:
    found = [item.message for item in loaded("CLUSTER_ENABLED=1", *sets).problems if item.key == "HA_MIN_NODES"]
    assert [message in item for item in found if message] == [True] * len(found)
    assert bool(found) is (message is not None)


def test_the_two_node_warning_names_both_remedies() -> None:
    hint = problem(loaded(preset="simple_failover"), "HA_MIN_NODES", "warning").hint
    assert "CLUSTER_ROLE=witness" in hint
    assert "typed risk" in hint
