"""Founding by environment alone, in each of its three forms: whoever comes first, one cluster; never a second one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from mltb_transport.keys import new_secret
from mltbd.core.founding import PATIENCE_S
from tests.deploy.manifests import pods, services
from tests.deploy.nodes import READY_S, picture, running
from tests.transport.nodes import free_port
from tests.waiting import holds, until

Environments = dict[str, dict[str, str]]
LOOK_S = 0.2

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")]

_AS_POD = "import os, socket, sys; socket.sethostname(sys.argv[1]); os.execv(sys.argv[2], sys.argv[2:])"


def as_a_pod(name: str) -> list[str]:
    """The words before a command whose machine is called like this: the ordinal counts only where a pod is."""
    return ["unshare", "--uts", sys.executable, "-c", _AS_POD, name]


def no_pods() -> bool:
    if shutil.which("unshare") is None:
        return True
    return (
        subprocess.run([*as_a_pod("p-0"), sys.executable, "-c", ""], capture_output=True, check=False).returncode != 0
    )


def by_primary() -> Environments:
    """As in the Compose file: FAILOVER_PRIMARY_NODE names the founder. Here the second, to tell it from the first."""
    return {
        name: environ | {"FAILOVER_PRIMARY_NODE": "n2", "FAILOVER_SECONDARY_NODES": "n3,n1"}
        for name, environ in services().items()
    }


def by_bootstrap() -> Environments:
    """CLUSTER_BOOTSTRAP on one node, and not a word about it on the others."""
    told = {name: without(environ, "FAILOVER_PRIMARY_NODE") for name, environ in services().items()}
    told["n3"]["CLUSTER_BOOTSTRAP"] = "True"
    return told


def by_ordinal() -> Environments:
    """As in the StatefulSet: ordinal 0 of the pods."""
    return {name: without(environ, "CLUSTER_SECRET") for name, environ in pods("").items()}


def without(environ: dict[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in environ.items() if key != name}


FORMS: list[tuple[Callable[[], Environments], str]] = [
    (by_primary, "n2"), (by_bootstrap, "n3"), (by_ordinal, "mltb-0"),
]  # fmt: skip


class House:
    """The nodes of one form, started one by one."""

    def __init__(self, base: Path, environments: Environments) -> None:
        self.base = base
        self.pods = "KUBERNETES_SERVICE_HOST" in next(iter(environments.values()))
        (base / "secret").write_text(new_secret())
        (base / "secret").chmod(0o600)
        (base / "mltb.toml").write_text('[workload.main]\ncommand = ["sleep", "600"]\n')
        ports = {name: free_port() for name in environments}
        seeds = ",".join(f"127.0.0.1:{port}" for port in ports.values())
        self.environments = {
            name: environ | {
                "CLUSTER_ADDRESS": "127.0.0.1", "CLUSTER_ADVERTISE_ADDRESS": "127.0.0.1", "CLUSTER_SEED_NODES": seeds,
                "CLUSTER_PORT": str(ports[name]), "CLUSTER_SECRET_FILE": str(base / "secret"),
                "MLTB_CONFIG": str(base / "mltb.toml"), "MLTB_STATE_DIR": str(base / name),
                "MLTB_RUNTIME_DIR": str(base),
            }
            for name, environ in environments.items()
        }  # fmt: skip
        self._up: dict[str, ExitStack] = {}

    def start(self, *names: str) -> None:
        for name in names:
            up = self._up[name] = ExitStack()
            before = as_a_pod(name) if self.pods else []
            up.enter_context(running(self.environments[name], self.base / f"{name}.log", before))

    def stop(self, *names: str) -> None:
        """In good order, all at once."""
        with ExitStack() as going:
            for name in names:
                going.push(self._up.pop(name))

    def __enter__(self) -> House:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(*list(self._up))

    def seen(self, name: str) -> dict[str, Any] | None:
        return picture(self.base / "mltb" / f"{name}.sock")

    def waits(self, name: str) -> str:
        """What it waits for; empty when it does not answer, or knows a cluster."""
        seen = self.seen(name)
        return str(seen["view"]["waiting_for"]) if seen and seen["cluster"]["id"] is None else ""

    def clusters(self) -> set[str]:
        """The clusters that these nodes belong to, once all of them are well and vote."""
        pictures = [self.seen(name) for name in self.environments]
        found = set()
        for seen in pictures:
            if seen is None or not seen["cluster"]["is_healthy"] or seen["cluster"]["quorum"]["reachable"] != 3:
                return set()
            found.add(str(seen["cluster"]["id"]))
        return found

    def told(self) -> str:
        return "\n".join(f"-- {log.stem}\n{log.read_text()}" for log in sorted(self.base.glob("*.log")))


@pytest.mark.parametrize(("form", "founder"), FORMS, ids=["primary-node", "bootstrap", "ordinal"])
def test_a_founder_that_comes_last_founds_one_cluster_and_wiped_never_another(
    form: Callable[[], Environments], founder: str
) -> None:
    if form is by_ordinal and no_pods():
        pytest.skip("a host name of one's own needs root and `unshare`")
    with TemporaryDirectory(prefix="mltb-") as directory, House(Path(directory), form()) as house:
        others = [name for name in house.environments if name != founder]
        house.start(*others)
        for name in others:
            until(lambda name=name: "waiting for the founder" in house.waits(name), READY_S, house.told, LOOK_S)  # type: ignore[misc]
        house.start(founder)
        (cluster,) = until(house.clusters, READY_S, house.told, LOOK_S)

        house.stop(*others, founder)
        shutil.rmtree(house.base / founder)
        house.start(founder)
        until(lambda: "waiting for nodes: 1 of 3" in house.waits(founder), READY_S, house.told, LOOK_S)
        holds(lambda: house.waits(founder), PATIENCE_S + 1, "alone it founds nothing")
        house.start(*others)
        assert until(house.clusters, READY_S, house.told, LOOK_S) == {cluster}
        assert os.listdir(house.base / founder), "its disk is in use again"
