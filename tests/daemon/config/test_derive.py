"""What follows from what: lease, identity, address, founder, quorum, secret, and what is not built is off."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mltb_transport.keys import new_secret
from mltbd.config.derive import is_loopback, majority
from mltbd.config.machine import Machine
from tests.daemon.config.machines import SECRET, keys, loaded, machine, problem, settings

V6 = {"2001:db8::1": "2001:db8:5::1"}
POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}


@pytest.mark.parametrize(
    ("sets", "lease", "origin"),
    [
        ([], 3.0, "derived from CLUSTER_NODE_TIMEOUT"),
        (["CLUSTER_HEARTBEAT_INTERVAL=1", "CLUSTER_NODE_TIMEOUT=3"], 1.5, "derived from CLUSTER_NODE_TIMEOUT"),
        (["CLUSTER_NODE_TIMEOUT=60"], 3.0, "derived from CLUSTER_NODE_TIMEOUT"),
        (["CLUSTER_NODE_TIMEOUT=6", "CLUSTER_LEASE_DURATION=2"], 2.0, "--set"),
    ],
)
def test_the_lease_follows_the_node_timeout(sets: list[str], lease: float, origin: str) -> None:
    found = loaded(*sets)
    assert settings(found).timing.lease_s == lease
    assert found.effective["CLUSTER_LEASE_DURATION"].origin == origin


def test_the_low_latency_tuning_makes_detection_faster() -> None:
    usual, fast = settings(loaded()), settings(loaded("CLUSTER_HEARTBEAT_INTERVAL=1", "CLUSTER_NODE_TIMEOUT=3"))
    assert (fast.heartbeat_s, fast.node_timeout_s) == (1, 3)
    assert fast.timing.election_s < usual.timing.election_s
    assert fast.timing.lease_s < usual.timing.lease_s


@pytest.mark.parametrize(
    ("hostname", "node_id"),
    [("n1", "n1"), ("Web_01.Example.com", "web-01-example-com"), ("", "node"), ("ü", "node"), ("x" * 80, "x" * 63)],
)
def test_the_node_id_is_the_hosts_name(hostname: str, node_id: str) -> None:
    found = loaded(on=machine(hostname))
    assert settings(found).node_id == node_id
    assert found.effective["CLUSTER_NODE_ID"].origin == "derived from the host's name"


@pytest.mark.parametrize(
    ("sets", "address", "advertised"),
    [
        ([], "127.0.0.1", "127.0.0.1"),
        ([f"CLUSTER_SECRET={SECRET}"], "0.0.0.0", "10.0.1.5"),
        (["CLUSTER_INSECURE=1"], "0.0.0.0", "10.0.1.5"),
        ([f"CLUSTER_SECRET={SECRET}", "CLUSTER_ADDRESS=10.9.9.9"], "10.9.9.9", "10.9.9.9"),
        ([f"CLUSTER_SECRET={SECRET}", "CLUSTER_ADVERTISE_ADDRESS=bot.example"], "0.0.0.0", "bot.example"),
        (["CLUSTER_ADDRESS=127.0.0.2"], "127.0.0.2", "127.0.0.2"),
    ],
)
def test_where_a_node_listens_and_where_it_is_reached(sets: list[str], address: str, advertised: str) -> None:
    found = settings(loaded("CLUSTER_ENABLED=1", *sets))
    assert (found.address, found.advertise_address) == (address, advertised)


@pytest.mark.parametrize(
    ("seeds", "asked"),
    [
        ("", "192.0.2.1"),
        ("seed.example:7946", "192.0.2.1"),
        ("seed.example:7946,10.0.1.9:7946", "10.0.1.9"),
        ("127.0.0.1:7000,10.0.1.9:7946", "10.0.1.9"),
        ("127.0.0.1:7000", "127.0.0.1"),
    ],
)
def test_the_route_to_a_far_seed_decides_what_is_advertised(seeds: str, asked: str) -> None:
    routes: list[str] = []

    def outward(target: str) -> str | None:
        routes.append(target)
        return None

    box = machine()
    found = settings(
        loaded(
            f"CLUSTER_SECRET={SECRET}",
            f"CLUSTER_SEED_NODES={seeds}",
            on=type(box)(box.hostname, box.root, outward),
        )
    )
    assert routes[0] == asked
    assert found.advertise_address == "127.0.0.1"  # without a route


@pytest.mark.parametrize(
    ("sets", "ways", "warned"),
    [
        ([], V6, True),
        (["CLUSTER_SEED_NODES=n2.example:7946"], V6, True),
        ([], V6 | {"192.0.2.1": "10.0.1.5"}, False),
        ([], {}, False),
        (["CLUSTER_SEED_NODES=10.0.1.9:7946"], V6, False),
        (["CLUSTER_ADDRESS=::"], V6, False),
        (["CLUSTER_ADVERTISE_ADDRESS=2001:db8:5::1"], V6, False),
    ],
)
def test_a_route_for_ipv6_alone_is_told_and_not_taken_unasked(
    sets: list[str], ways: dict[str, str], warned: bool
) -> None:
    """A machine that just starts may get its IPv4 address a moment later."""
    on = Machine("box", False, ways.get)
    found = loaded("CLUSTER_ENABLED=1", f"CLUSTER_SECRET={SECRET}", *sets, on=on)
    if warned:
        hint = problem(found, "CLUSTER_ADVERTISE_ADDRESS", "warning").hint
        assert 'CLUSTER_ADVERTISE_ADDRESS = "2001:db8:5::1"' in hint
        assert settings(found).address == "0.0.0.0"
    else:
        assert "CLUSTER_ADVERTISE_ADDRESS" not in keys(found, "warning")


@pytest.mark.parametrize(
    ("sets", "environ", "hostname", "founder"),
    [
        ([], {}, "box", False),
        (["CLUSTER_BOOTSTRAP=True"], {}, "box", True),
        (["FAILOVER_PRIMARY_NODE=box"], {}, "box", True),
        (["FAILOVER_PRIMARY_NODE=other"], {}, "box", False),
        (["FAILOVER_PRIMARY_NODE=box", "CLUSTER_BOOTSTRAP=False"], {}, "box", False),
        ([], POD, "mltb-0", True),
        ([], POD, "mltb-1", False),
        ([], POD, "mltb-10", False),
        ([], {}, "mltb-0", False),
        (["CLUSTER_NODE_ID=mltb-0"], POD, "mltb-0", True),
        (["CLUSTER_NODE_ID=other-0"], POD, "mltb-0", False),
        (["CLUSTER_BOOTSTRAP=False"], POD, "mltb-0", False),
        (["FAILOVER_PRIMARY_NODE=mltb-1"], POD, "mltb-0", False),
    ],
)
def test_who_founds(sets: list[str], environ: dict[str, str], hostname: str, founder: bool) -> None:
    assert settings(loaded(*sets, environ=environ, on=machine(hostname))).founder is founder


@pytest.mark.parametrize(
    ("sets", "preset", "quorum"),
    [
        ([], None, 2),
        (["HA_MIN_NODES=1"], None, 1),
        (["HA_MIN_NODES=5"], None, 3),
        (["HA_MIN_NODES=5"], "full_ha", 3),
        (["HA_MIN_NODES=1"], "full_ha", 1),
        (["HA_MIN_NODES=3", "HA_QUORUM_SIZE=3"], None, 3),
        ([], "distributed", 3),
    ],
)
def test_the_quorum_follows_the_nodes_unless_it_is_typed(sets: list[str], preset: str | None, quorum: int) -> None:
    assert settings(loaded(*sets, preset=preset)).quorum_size == quorum


@pytest.mark.parametrize(
    ("toml", "cluster", "failover"),
    [
        ("", False, False),
        ('CLUSTER_NODE_ID = "n1"\nCLUSTER_ROLE = "witness"', True, True),
        ('CLUSTER_SEED_NODES = ["a:1"]', True, True),
        ("CLUSTER_BOOTSTRAP = true", True, True),
        ("CLUSTER_PORT = 1", False, False),
        ('[workload.main]\ncommand = ["x"]', True, True),
        ('FAILOVER_ENABLED = false\n[workload.main]\ncommand = ["x"]', True, False),
        ('CLUSTER_ENABLED = false\nCLUSTER_NODE_ID = "n1"', False, False),
    ],
)
def test_a_members_file_needs_no_switches(tmp_path: Path, toml: str, cluster: bool, failover: bool) -> None:
    found = settings(loaded(toml=toml, folder=tmp_path))
    assert (found.cluster_enabled, found.failover_enabled) == (cluster, failover)


def secret_file(folder: Path, text: str = SECRET, mode: int = 0o600, name: str = "secret") -> Path:
    path = folder / name
    path.write_text(f"{text}\n", encoding="ascii")
    path.chmod(mode)
    return path


def test_the_secret_may_be_in_a_file_of_its_owner(tmp_path: Path) -> None:
    found = loaded(f"CLUSTER_SECRET_FILE={secret_file(tmp_path)}")
    assert settings(found).secret == SECRET
    assert found.effective["CLUSTER_SECRET"].origin == "derived from CLUSTER_SECRET_FILE"
    assert found.effective["HA_ENCRYPTION_ENABLED"].value is True


def test_the_secret_may_be_a_systemd_credential(tmp_path: Path) -> None:
    secret_file(tmp_path, name="cluster_secret", mode=0o400)
    found = loaded(environ={"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert settings(found).secret == SECRET
    other = new_secret()
    typed = loaded(f"CLUSTER_SECRET={other}", environ={"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert settings(typed).secret == other
    assert settings(loaded(environ={"CREDENTIALS_DIRECTORY": str(tmp_path / "none")})).secret is None


LONG = "a" * 300


def test_a_secret_file_that_cannot_be_looked_at_is_named(tmp_path: Path) -> None:
    """By a name that is too long, as a directory that is closed or a disk that is lost would be."""
    for found in (
        loaded(f"CLUSTER_SECRET_FILE={tmp_path / LONG}"),
        loaded(environ={"CREDENTIALS_DIRECTORY": str(tmp_path / LONG)}),
    ):
        assert found.settings is None
        assert [each.message for each in found.problems if "File name too long" in each.message]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_secret_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = secret_file(tmp_path, mode=mode)
    found = problem(loaded(f"CLUSTER_SECRET_FILE={path}"), "CLUSTER_SECRET_FILE")
    assert f"{mode:04o}" in found.message
    assert found.hint == f"run `chmod 600 {path}`"


def test_a_secret_file_that_is_absent_or_a_pipe_or_wrong_is_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    wrong = secret_file(tmp_path, "mltb1-wrong")
    for path in (tmp_path / "absent", pipe, wrong):
        assert keys(loaded(f"CLUSTER_SECRET_FILE={path}")) == ["CLUSTER_SECRET_FILE"]


def test_while_it_is_changed_the_file_holds_both(tmp_path: Path) -> None:
    other = new_secret()
    for which in ("next", "previous"):
        path = secret_file(tmp_path, f"{SECRET}\n{which} {other}")
        found = loaded(f"CLUSTER_SECRET_FILE={path}")
        assert (settings(found).secret, settings(found).other_secret) == (SECRET, other)
        assert found.effective["CLUSTER_SECRET_SECOND"].origin == "derived from CLUSTER_SECRET_FILE"
    for wrong in (f"{SECRET}\n{other}", f"{SECRET}\nnext {other}\nnext {other}", f"{SECRET}\nnext x"):
        found = loaded(f"CLUSTER_SECRET_FILE={secret_file(tmp_path, wrong)}")
        assert keys(found) == ["CLUSTER_SECRET_FILE"]


def test_a_second_secret_is_checked_as_the_first_and_needs_it() -> None:
    assert settings(loaded(f"CLUSTER_SECRET={SECRET}", f"CLUSTER_SECRET_SECOND={SECRET}")).other_secret == SECRET
    assert "begins with" in problem(loaded(f"CLUSTER_SECRET={SECRET}", "CLUSTER_SECRET_SECOND=x"),
                                    "CLUSTER_SECRET_SECOND").message  # fmt: skip
    assert "only beside" in problem(loaded(f"CLUSTER_SECRET_SECOND={SECRET}"), "CLUSTER_SECRET_SECOND").message


def test_a_secret_given_twice_or_with_a_typing_error_is_refused(tmp_path: Path) -> None:
    twice = loaded(f"CLUSTER_SECRET={SECRET}", f"CLUSTER_SECRET_FILE={secret_file(tmp_path)}")
    assert "given twice" in problem(twice, "CLUSTER_SECRET_FILE").message
    flipped = SECRET[:-1] + ("a" if SECRET[-1] != "a" else "b")
    found = problem(loaded(environ={"CLUSTER_SECRET": flipped}), "CLUSTER_SECRET")
    assert "typing error" in found.message
    assert found.origin == "env CLUSTER_SECRET"


def test_what_a_preset_asks_for_and_is_not_built_is_off_and_says_so() -> None:
    effective = loaded(preset="full_ha").effective
    asked = effective["REPLICATION_ENABLED"]
    assert (asked.value, asked.origin) == (False, "not in this version (preset full_ha)")
    assert effective["REPLICATION_CONSISTENCY"].value == "eventual"


@pytest.mark.parametrize(
    ("sets", "seeds"),
    [
        (["CLUSTER_SEED_NODES=10.0.1.5:7946,10.0.1.6:7946"], (("10.0.1.6", 7946),)),
        (["CLUSTER_SEED_NODES=127.0.0.1:7946,127.0.0.1:7956"], (("127.0.0.1", 7956),)),
        (["CLUSTER_SEED_NODES=box:7946,other:7946"], (("other", 7946),)),
        (["CLUSTER_SEED_NODES=box.ns.svc:7946,box-1.ns.svc"], (("box-1.ns.svc", 7946),)),
        (["CLUSTER_SEED_NODES=10.0.1.5:7000"], (("10.0.1.5", 7000),)),
        (["CLUSTER_SEED_NODES=[fd00::1]:7000"], (("fd00::1", 7000),)),
    ],
)
def test_a_node_is_no_seed_of_its_own(sets: list[str], seeds: tuple[tuple[str, int], ...]) -> None:
    assert settings(loaded(f"CLUSTER_SECRET={SECRET}", *sets)).seeds == seeds


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        *[(host, True) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost", "LOCALHOST")],
        *[(host, False) for host in ("0.0.0.0", "10.0.0.1", "127.a.b.c", "127.example.com", "::", "")],
    ],
)
def test_what_is_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_a_majority_is_more_than_half() -> None:
    assert [majority(voters) for voters in range(1, 8)] == [1, 2, 2, 3, 3, 4, 4]
