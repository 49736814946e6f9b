"""The secret of three running nodes is changed, step by step, and the workload's process never changes."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from mltb_transport.access import access_key
from mltb_transport.keys import Keyring, new_secret, read_secrets
from mltbctl.client import AuthenticationFailed, Client, MltbError
from tests.deploy.nodes import READY_S, picture, running
from tests.mltbctl.terminal import environment
from tests.transport.nodes import free_port
from tests.waiting import until

NODES = ("n1", "n2", "n3")
LEASE_S = 20
"""Long, so that a loaded machine cannot make a daemon come back too late."""


class Trio:
    """Three nodes with a secret file each."""

    def __init__(self, base: Path, secret: str) -> None:
        self.base = base
        self.ports = {name: free_port() for name in NODES}
        seeds = ",".join(f"127.0.0.1:{port}" for port in self.ports.values())
        toml = base / "mltb.toml"
        toml.write_text('[workload.main]\ncommand = ["sleep", "600"]\n')
        self.environments = {}
        for name in NODES:
            self.file(name).write_text(secret)
            self.file(name).chmod(0o600)
            self.environments[name] = {
                "CLUSTER_NODE_ID": name, "CLUSTER_ADDRESS": "127.0.0.1", "CLUSTER_PORT": str(self.ports[name]),
                "CLUSTER_SEED_NODES": seeds, "CLUSTER_SECRET_FILE": str(self.file(name)), "HA_MIN_NODES": "3",
                "CLUSTER_BOOTSTRAP": str(name == "n1"), "CLUSTER_LEASE_DURATION": str(LEASE_S),
                "CLUSTER_NODE_TIMEOUT": str(3 * LEASE_S), "FAILOVER_ENABLED": "True", "MLTB_CONFIG": str(toml),
                "MLTB_STATE_DIR": str(base / name), "MLTB_RUNTIME_DIR": str(base),
            }  # fmt: skip

    def file(self, name: str) -> Path:
        return self.base / f"{name}.secret"

    def log(self, name: str) -> Path:
        return self.base / f"{name}.log"

    def logs(self) -> str:
        return "\n".join(f"-- {name}\n{self.log(name).read_text()}" for name in NODES)

    def socket(self, name: str) -> Path:
        return self.base / "mltb" / f"{name}.sock"

    def ctl(self, name: str, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "mltbctl", "--node", str(self.socket(name)), *words],
            env=environment(**self.environments[name]), capture_output=True, text=True, timeout=READY_S, check=False,
        )  # fmt: skip

    def workload(self) -> dict[str, Any] | None:
        """As n1 sees it, once all is well."""
        seen = picture(self.socket("n1"))
        whole = seen is not None and seen["cluster"]["is_healthy"] and seen["cluster"]["quorum"]["reachable"] == 3
        return seen["workloads"][0] if whole and seen is not None and seen["workloads"][0]["pid"] else None

    def step(self, number: int) -> None:
        """Once every node is ready for it: here, copied, reloaded."""

        def taken() -> bool:
            return f"step {number} of 3" in self.ctl("n1", "secret", "rotate").stdout

        until(taken, READY_S, self.logs())
        for name in NODES[1:]:
            self.file(name).write_bytes(self.file("n1").read_bytes())
            until(lambda: self.ctl(name, "service", "reload").returncode == 0, READY_S)  # noqa: B023


@pytest.mark.e2e
def test_the_secret_of_a_running_cluster_is_changed() -> None:
    old = new_secret()
    with TemporaryDirectory(prefix="mltb-") as directory, ExitStack() as nodes:
        trio = Trio(Path(directory), old)
        for name in NODES:
            nodes.enter_context(running(trio.environments[name], trio.log(name)))
        before = until(trio.workload, READY_S, "all is well")
        for number in (1, 2, 3):
            trio.step(number)
        new = read_secrets(trio.file("n1")).used
        assert new != old

        def done() -> bool:
            try:
                with Client(str(trio.socket("n1")), timeout=5) as client:
                    told = client.survey(quick=True)["facts"].values()
            except MltbError:
                return False
            return all(facts and facts["secret"]["also"] is None for facts in told)

        until(done, READY_S, trio.logs())
        after = until(trio.workload, READY_S, trio.logs())
        assert (after["pid"], after["token"]) == (before["pid"], before["token"]), trio.logs()
        where = f"127.0.0.1:{trio.ports['n2'] + 1}"
        with Client(where, secret=old) as denied, pytest.raises(AuthenticationFailed):
            denied.status()
        with Client(where, secret=access_key(Keyring.from_secret(new), "viewer")) as viewer:
            assert viewer.status()["cluster"]["leader"]
            with pytest.raises(AuthenticationFailed, match="viewer"):
                viewer.failover()
