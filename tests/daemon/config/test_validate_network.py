"""The rules on seeds, ports, secrets, identity and roles."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.daemon.config.machines import SECRET, keys, loaded, machine, problem, settings

ON = "CLUSTER_ENABLED=1"
SAFE = f"CLUSTER_SECRET={SECRET}"


def test_no_seeds_are_worth_a_warning_unless_one_node_is_enough() -> None:
    assert "no seed nodes" in problem(loaded(ON), "CLUSTER_SEED_NODES", "warning").message
    own = problem(loaded(ON, "CLUSTER_SEED_NODES=box:7946"), "CLUSTER_SEED_NODES", "warning")
    assert "beside this node itself" in own.message
    assert "CLUSTER_SEED_NODES" not in keys(loaded(ON, "HA_MIN_NODES=1"), "warning")
    assert "CLUSTER_SEED_NODES" not in keys(loaded(ON, "CLUSTER_SEED_NODES=a:1"), "warning")


@pytest.mark.parametrize("seeds", ["", "a:1", "a:1,b:1,c:1"], ids=["init", "join", "join-many"])
def test_what_init_and_join_have_settled_is_worth_no_warning(seeds: str) -> None:
    """Who votes is in the log, and who joins speaks first."""
    told, settled = f"CLUSTER_SEED_NODES={seeds}", "CLUSTER_BOOTSTRAP=0"
    assert not {"HA_MIN_NODES", "CLUSTER_SEED_NODES"} & set(keys(loaded(ON, told, settled), "warning"))
    assert "HA_MIN_NODES" in keys(loaded(ON, told), "warning"), "else it is unsettled"
    named = loaded(ON, told, settled, "HA_MIN_NODES=2" if len(seeds) < 6 else "HA_MIN_NODES=4")
    assert "HA_MIN_NODES" in keys(named, "warning"), "a number is worth a look"


def test_the_development_preset_with_seeds_founds_many_clusters() -> None:
    found = problem(loaded("CLUSTER_SEED_NODES=a:1,b:1", preset="development"), "CLUSTER_SEED_NODES", "warning")
    assert "a cluster of its own" in found.message
    calm = loaded("CLUSTER_SEED_NODES=a:1,b:1", "CLUSTER_BOOTSTRAP=0", preset="development")
    assert "CLUSTER_SEED_NODES" not in keys(calm, "warning")


def test_seeds_elsewhere_cannot_reach_loopback() -> None:
    found = problem(loaded("CLUSTER_SEED_NODES=10.0.0.1:1,10.0.0.2:1"), "CLUSTER_ADDRESS", "warning")
    assert "cannot be reached from other machines" in found.message
    assert "CLUSTER_ADDRESS" not in keys(loaded(SAFE, "CLUSTER_SEED_NODES=10.0.0.1:1"), "warning")
    assert "CLUSTER_ADDRESS" not in keys(loaded("CLUSTER_SEED_NODES=127.0.0.1:1,127.0.0.2:1"), "warning")


@pytest.mark.parametrize(("port", "root", "warned"), [(1023, False, True), (1023, True, False), (1024, False, False)])
def test_low_ports_are_for_root(port: int, root: bool, warned: bool) -> None:
    assert ("CLUSTER_PORT" in keys(loaded(f"CLUSTER_PORT={port}", on=machine(root=root)), "warning")) is warned


def test_the_control_port_has_to_exist() -> None:
    assert "outside 1 to 65534" in problem(loaded("CLUSTER_PORT=65535"), "CLUSTER_PORT").message
    assert settings(loaded("CLUSTER_PORT=65534")).port == 65534


@pytest.mark.parametrize(("api", "clash"), [(7946, "gossip"), (7947, "consensus and control"), (7948, None)])
def test_the_api_port_must_not_be_one_of_the_others(tmp_path: Path, api: int, clash: str | None) -> None:
    messages = [item.message for item in loaded(toml=f"[api]\nport = {api}", folder=tmp_path).problems]
    taken = [message for message in messages if "is taken by" in message]
    assert taken == ([] if clash is None else [message for message in taken if clash in message])
    assert bool(taken) is (clash is not None)


@pytest.mark.parametrize("address", ["0.0.0.0", "10.0.0.1", "bot.example", "::"])
def test_beyond_loopback_a_secret_is_needed_or_the_typed_way_out(address: str) -> None:
    bare = loaded(ON, f"CLUSTER_ADDRESS={address}", "CLUSTER_ADVERTISE_ADDRESS=10.0.0.1")
    found = problem(bare, "CLUSTER_SECRET")
    assert address in found.message
    assert "mltbctl secret new" in found.hint
    assert "CLUSTER_INSECURE=True" in found.hint
    typed = loaded(ON, f"CLUSTER_ADDRESS={address}", "CLUSTER_ADVERTISE_ADDRESS=10.0.0.1", "CLUSTER_INSECURE=1")
    assert settings(typed).insecure is True
    assert "anyone who reaches" in problem(typed, "CLUSTER_INSECURE", "warning").message
    assert keys(loaded(ON, SAFE, f"CLUSTER_ADDRESS={address}", "CLUSTER_ADVERTISE_ADDRESS=10.0.0.1")) == []


def test_loopback_needs_no_secret_and_says_so_only_when_it_was_not_typed() -> None:
    assert "listens on 127.0.0.1 only" in problem(loaded(ON), "CLUSTER_SECRET", "warning").message
    assert "CLUSTER_SECRET" not in keys(loaded(ON, "CLUSTER_ADDRESS=127.0.0.1"), "warning")


def test_encryption_and_the_secret_go_together() -> None:
    assert "without a secret" in problem(loaded("HA_ENCRYPTION_ENABLED=True"), "HA_ENCRYPTION_ENABLED").message
    off = problem(loaded(SAFE, "HA_ENCRYPTION_ENABLED=False"), "HA_ENCRYPTION_ENABLED")
    assert "cannot be switched off" in off.message
    assert keys(loaded(SAFE, "HA_ENCRYPTION_ENABLED=True")) == []
    assert keys(loaded("HA_ENCRYPTION_ENABLED=False")) == []


def test_insecure_beside_a_secret_changes_nothing_and_says_so() -> None:
    found = loaded(SAFE, "CLUSTER_INSECURE=True")
    assert "no effect" in problem(found, "CLUSTER_INSECURE", "warning").message
    assert (settings(found).insecure, settings(found).secret) == (False, SECRET)


def test_a_host_called_localhost_is_worth_a_warning() -> None:
    assert "CLUSTER_NODE_ID" in keys(loaded(ON, on=machine("localhost")), "warning")
    assert "CLUSTER_NODE_ID" not in keys(loaded(ON, "HA_MIN_NODES=1", on=machine("localhost")), "warning")


def test_nobody_is_reached_at_the_wildcard() -> None:
    assert keys(loaded(ON, SAFE, "CLUSTER_ADVERTISE_ADDRESS=0.0.0.0")) == ["CLUSTER_ADVERTISE_ADDRESS"]


def test_the_primary_is_not_secondary_and_runs_workloads() -> None:
    both = loaded(ON, "FAILOVER_PRIMARY_NODE=n1", "FAILOVER_SECONDARY_NODES=n2,n1")
    assert "`n1` is the primary node as well" in problem(both, "FAILOVER_SECONDARY_NODES").message
    witness = loaded(ON, "FAILOVER_PRIMARY_NODE=box", "CLUSTER_ROLE=witness")
    assert "cannot be a witness" in problem(witness, "CLUSTER_ROLE").message
    fine = settings(loaded(ON, "FAILOVER_PRIMARY_NODE=n1", "CLUSTER_ROLE=witness"))
    assert (fine.role, fine.primary_node) == ("witness", "n1")


def test_an_observer_cannot_found_and_two_founders_are_worth_a_warning() -> None:
    observer = loaded(ON, "CLUSTER_BOOTSTRAP=1", "CLUSTER_ROLE=observer")
    assert "cannot found" in problem(observer, "CLUSTER_ROLE").message
    two = loaded(ON, "CLUSTER_BOOTSTRAP=1", "FAILOVER_PRIMARY_NODE=n9")
    assert "makes `n9` a founder as well" in problem(two, "CLUSTER_BOOTSTRAP", "warning").message
    assert "CLUSTER_BOOTSTRAP" not in keys(loaded(ON, "CLUSTER_BOOTSTRAP=0", "FAILOVER_PRIMARY_NODE=n9"), "warning")


def test_a_cluster_that_is_off_has_no_warnings_of_its_own() -> None:
    assert loaded().problems == ()


@pytest.mark.parametrize(
    ("bound", "reached", "warned"),
    [
        ("0.0.0.0", "fd00::1", True), ("10.0.1.1", "fd00::1", True), ("fd00::1", "10.0.1.1", True),
        ("::", "10.0.1.1", False), ("::", "fd00::1", False), ("fd00::1", "fd00::2", False),
        ("0.0.0.0", "10.0.1.1", False), ("0.0.0.0", "n1.example", False), ("box", "fd00::1", False),
    ],
)  # fmt: skip
def test_a_node_has_to_hear_the_kind_of_ip_it_is_known_by(bound: str, reached: str, warned: bool) -> None:
    found = loaded(SAFE, f"CLUSTER_ADDRESS={bound}", f"CLUSTER_ADVERTISE_ADDRESS={reached}", "CLUSTER_SEED_NODES=a:1")
    assert ("CLUSTER_ADVERTISE_ADDRESS" in keys(found, "warning")) is warned


def test_who_is_known_by_an_ipv6_address_listens_to_both_kinds() -> None:
    assert settings(loaded(SAFE, "CLUSTER_ADVERTISE_ADDRESS=fd00::1")).address == "::"
    assert settings(loaded(SAFE, "CLUSTER_ADVERTISE_ADDRESS=10.0.1.1")).address == "0.0.0.0"
