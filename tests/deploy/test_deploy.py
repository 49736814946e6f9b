"""Compose file and StatefulSet: of the right shape, valid for mltbd as they stand, and a cluster when they run."""

from __future__ import annotations

import json
import re
import tomllib
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml

from mltb_transport.keys import new_secret
from mltb_transport.limits import RELEASE
from mltbd.config.leaving import service_s
from mltbd.config.options import OPTIONS
from mltbd.config.settings import Settings, load
from mltbd.config.workloads import WorkloadSpec
from tests.daemon.config.machines import SECRET, machine
from tests.deploy.manifests import DEPLOY, compose, kubernetes, pods, services
from tests.deploy.nodes import READY_S, picture, running
from tests.transport.nodes import free_port
from tests.waiting import until

OURS = ("CLUSTER_", "FAILOVER_", "HA_")


def settings_of(environ: dict[str, str], toml: Path, folder: Path) -> Settings:
    """What mltbd makes of this environment on the machine it is meant for."""
    secret = folder / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    if "CLUSTER_SECRET_FILE" in environ:
        environ |= {"CLUSTER_SECRET_FILE": str(secret)}
    loaded = load(None, toml, [], environ, machine(environ["CLUSTER_NODE_ID"], root=True))
    assert loaded.settings is not None, loaded.problems
    assert [problem for problem in loaded.problems if problem.level == "error"] == []
    return loaded.settings


@pytest.fixture(params=["compose", "kubernetes"])
def environments(request: pytest.FixtureRequest) -> dict[str, dict[str, str]]:
    return services() if request.param == "compose" else pods(SECRET)


def test_every_variable_is_an_option(environments: dict[str, dict[str, str]]) -> None:
    for environ in environments.values():
        named = {name for name in environ if name.startswith(OURS)}
        assert named
        assert named <= set(OPTIONS)


def test_mltbd_takes_it_as_it_stands_and_exactly_one_founds(
    environments: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    found = [settings_of(environ, DEPLOY / "mltb.toml", tmp_path) for environ in environments.values()]
    assert [each.node_id for each in found] == list(environments)
    assert sum(each.founder for each in found) == 1
    for each in found:
        assert each.secret == SECRET
        assert each.address == "0.0.0.0"
        assert each.min_nodes == len(found)
        assert len(each.seeds) == len(found) - 1, "itself left out"
        assert each.advertise_address in {seed for other in found for seed, _ in other.seeds}, "as the others know it"
        assert each.failover_mode == "automatic"
        assert [workload.name for workload in each.workloads] == ["main"]


def test_the_compose_file_has_the_shape_that_compose_wants() -> None:
    data = compose()
    assert set(data) - {key for key in data if key.startswith("x-")} == {
        "name", "services", "volumes", "secrets", "configs",
    }  # fmt: skip
    for name, service in data["services"].items():
        assert set(service) <= {
            "image", "build", "restart", "stop_grace_period", "secrets", "configs", "healthcheck", "hostname",
            "environment", "volumes",
        }  # fmt: skip
        assert all(isinstance(value, str) for value in service["environment"].values()), "numbers would be guessed at"
        assert service["volumes"] == [f"{name}:/var/lib/mltb"], "a disk of its own"
        assert set(service["secrets"]) <= set(data["secrets"])
        assert {config["source"] for config in service["configs"]} <= set(data["configs"])
        assert seconds(service["stop_grace_period"]) >= service_s([WorkloadSpec("main", ("bot",))])
        assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    assert set(data["volumes"]) == set(data["services"])
    assert (DEPLOY / data["configs"]["mltb"]["file"]).is_file()


def test_the_objects_have_the_shape_that_kubernetes_wants() -> None:
    found = kubernetes()
    assert set(found) == {"Service", "ConfigMap", "PodDisruptionBudget", "StatefulSet"}
    assert all(each["apiVersion"] and each["metadata"]["name"] == "mltb" for each in found.values())
    service, stateful = found["Service"]["spec"], found["StatefulSet"]["spec"]
    assert service["clusterIP"] == "None"
    assert service["publishNotReadyAddresses"] is True
    assert stateful["podManagementPolicy"] == "Parallel"
    labels = stateful["template"]["metadata"]["labels"]
    assert service["selector"] == stateful["selector"]["matchLabels"] == labels
    assert found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert stateful["serviceName"] == found["Service"]["metadata"]["name"]
    pod = stateful["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] >= service_s([WorkloadSpec("main", ("bot",))])
    container = pod["containers"][0]
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    claimed = {claim["metadata"]["name"] for claim in stateful["volumeClaimTemplates"]}
    assert mounted == claimed | {volume["name"] for volume in pod["volumes"]}
    assert {port["containerPort"] for port in container["ports"]} == {port["port"] for port in service["ports"]}
    assert all(isinstance(item.get("value", ""), str) for item in container["env"])


def test_the_image_of_the_pods_is_of_this_release_and_of_a_registry_that_a_person_chose() -> None:
    """Without a registry it would be whatever the public one has by that name, and without a tag the newest of that."""
    image = kubernetes()["StatefulSet"]["spec"]["template"]["spec"]["containers"][0]["image"]
    registry, _, name = image.partition("/")
    assert "." in registry
    assert name == f"{compose()['services']['n1']['image']}:{RELEASE}"


def test_the_nodes_of_compose_can_live_on_three_hosts_as_it_says() -> None:
    """In the networks of Docker a port is reached from other hosts only if it is published: here none is."""
    told = (DEPLOY / "compose.yaml").read_text()
    data = yaml.safe_load(told.replace("  # network_mode: host\n", "  network_mode: host\n"))
    assert all(service["network_mode"] == "host" for service in data["services"].values())
    for name, service in data["services"].items():
        assert service["environment"]["CLUSTER_ADVERTISE_ADDRESS"] == name, "what resolves to the host"


def test_both_run_the_same_workload() -> None:
    mounted = tomllib.loads(kubernetes()["ConfigMap"]["data"]["mltb.toml"])
    assert mounted == tomllib.loads((DEPLOY / "mltb.toml").read_text())


def test_the_image_starts_the_guard_as_its_first_process() -> None:
    told = (DEPLOY / "Dockerfile").read_text()
    assert json.loads(re.findall(r"^ENTRYPOINT (.*)$", told, re.MULTILINE)[0]) == ["mltbd"]
    assert json.loads(re.findall(r"^CMD (.*)$", told, re.MULTILINE)[0]) == ["run"]


def seconds(text: str) -> float:
    assert text.endswith("s")
    return float(text[:-1])


# -- the same environment as processes on loopback


def on_loopback(environments: dict[str, dict[str, str]], base: Path) -> dict[str, dict[str, str]]:
    """The same environments with loopback and free ports in place of names, and a file each in place of a mount."""
    secret = base / "secret"
    secret.write_text(new_secret())
    secret.chmod(0o600)
    toml = base / "mltb.toml"
    toml.write_text('[workload.main]\ncommand = ["sleep", "600"]\n')
    toml.chmod(0o600)
    ports = dict(zip(environments, [free_port() for _ in environments], strict=True))
    moved = {}
    for name, environ in environments.items():
        seeds = ",".join(f"127.0.0.1:{ports[seed.split(':')[0].split('.')[0]]}" for seed in
                         environ["CLUSTER_SEED_NODES"].split(","))  # fmt: skip
        moved[name] = environ | {
            "CLUSTER_ADDRESS": "127.0.0.1", "CLUSTER_ADVERTISE_ADDRESS": "127.0.0.1", "CLUSTER_SEED_NODES": seeds,
            "CLUSTER_PORT": str(ports[name]), "CLUSTER_SECRET_FILE": str(secret), "MLTB_CONFIG": str(toml),
            "MLTB_STATE_DIR": str(base / name), "MLTB_RUNTIME_DIR": str(base),
        }  # fmt: skip
    return moved


@pytest.mark.e2e
def test_the_environment_of_compose_makes_a_cluster() -> None:
    with TemporaryDirectory(prefix="mltb-") as directory, ExitStack() as nodes:
        base = Path(directory)
        moved = on_loopback(services(), base)
        for name, environ in moved.items():
            nodes.enter_context(running(environ, base / f"{name}.log"))
        logs = {name: base / f"{name}.log" for name in moved}

        def whole() -> bool:
            seen = picture(base / "mltb" / "n2.sock")
            return bool(seen and seen["cluster"]["is_healthy"] and seen["workloads"][0]["owner"])

        try:
            until(whole, READY_S)
        except AssertionError:
            pytest.fail("\n".join(f"-- {name}\n{log.read_text()}" for name, log in logs.items()))
        seen = picture(base / "mltb" / "n3.sock")
        assert seen is not None
        assert {node["id"] for node in seen["nodes"]} == set(moved)
        assert seen["cluster"]["quorum"]["voters"] == len(moved)
