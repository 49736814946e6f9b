"""Real nodes under test: a cluster on loopback, its status through the SDK, and the checker of the one promise."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mltbctl.client import Client, MltbError
from mltbctl.demo.cluster import Cluster, Workload
from mltbctl.demo.runs import Run, overlaps, read_runs
from mltbctl.demo.sweep import descendants
from tests.e2e.namespaces import Wires
from tests.waiting import until

RECORDER = Path(__file__).parent / "recorder.py"
PATIENCE_S = 60.0
"""For what takes a second or two on a machine that has nothing else to do."""
LOG_LINES = 40
"""Shown of each node when something went wrong."""


class Stage:
    """A cluster whose workload records when it runs. Leaving the context ends everything and checks the promise."""

    def __init__(
        self,
        directory: Path,
        size: int = 3,
        *flags: str,
        cables: Wires | None = None,
        roles: Mapping[str, str] | None = None,
        kind: type[Cluster] = Cluster,
        **options: object,
    ) -> None:
        self.runs_dir = directory / "runs"
        self.runs_dir.mkdir()
        nodes = directory / "c"
        nodes.mkdir()
        workload = Workload([sys.executable, str(RECORDER), *flags], {"RUNS": str(self.runs_dir)})
        if cables is None:
            self.cluster = kind(size, nodes, workload, options=options, hosts=[_loopback()] * size)
        else:
            self.cluster = kind(size, nodes, workload, cables.command, options, cables.hosts)
        for node, role in (roles or {}).items():
            config = self.cluster.plans[node].config
            config.write_text(f'CLUSTER_ROLE = "{role}"\n{config.read_text()}')
        self.wired = cables is not None
        self.lease_s = float(str(options.get("CLUSTER_LEASE_DURATION", 3.0)))

    def __enter__(self) -> Stage:
        self.start()
        until(lambda: self.owner() and self.runs(), PATIENCE_S, lambda: f"an owner\n{self.picture()}")
        return self

    def __exit__(self, *_: object) -> None:
        self.cluster.stop()
        self.check()

    def start(self) -> None:
        """All nodes, at once."""
        for node in self.cluster.nodes:
            self.cluster.start(node)

    def check(self) -> None:
        """Never two at once, and tokens only grow in the order in which processes began."""
        runs = self.runs()
        assert not overlaps(runs), f"{overlaps(runs)}\n{self.logs()}"
        assert [run.token for run in runs] == sorted(run.token for run in runs), runs

    def runs(self) -> list[Run]:
        return read_runs(self.runs_dir)

    def status(self, node: str) -> dict[str, Any] | None:
        """What one node says; None while it does not answer."""
        try:
            with Client(str(self.cluster.plans[node].socket), timeout=2) as client:
                return client.status()
        except MltbError:
            return None

    def owner(self, *asked: str) -> str | None:
        """Who runs the workload, says the first node that has a quorum."""
        for node in asked or self.cluster.nodes:
            picture = self.status(node)
            if picture and picture["cluster"]["quorum"]["has_quorum"]:
                for workload in picture["workloads"][:1]:
                    return workload["owner"] if workload["state"] == "RUNNING" else None
        return None

    def leader(self, *asked: str) -> str | None:
        for node in asked or self.cluster.nodes:
            picture = self.status(node)
            if picture and picture["cluster"]["leader"]:
                return str(picture["cluster"]["leader"])
        return None

    def others(self, *but: str) -> list[str]:
        return [node for node in self.cluster.nodes if node not in but]

    def daemon(self, node: str) -> int | None:
        """The pid of a node's daemon; None while it has none."""
        for pid in descendants(self.cluster.pid(node)):
            if b"mltbd.main\0daemon" in _cmdline(pid):
                return pid
        return None

    def workload(self, node: str) -> int:
        """The pid of the workload's first process, as the node reports it."""

        def pid() -> int | None:
            picture = self.status(node)
            return picture["workloads"][0]["pid"] if picture and picture["workloads"][0]["owner"] == node else None

        return int(until(pid, PATIENCE_S, lambda: f"{node} runs it\n{self.picture()}"))

    def picture(self) -> str:
        """How things stand, for the one who has to find out."""
        lines = []
        for node in self.cluster.nodes:
            seen = self.status(node)
            if seen is None:
                lines.append(f"{node} does not answer")
                continue
            cluster = seen["cluster"]
            runs = [(w["name"], w["owner"], w["state"], w["token"]) for w in seen["workloads"]]
            members = [(m["id"], m["state"]) for m in seen["nodes"]]
            lines.append(
                f"{node}: leader {cluster['leader']} term {cluster['term']} {cluster['quorum']} {runs} {members}"
            )
        return "\n".join([*lines, self.logs()])

    def logs(self) -> str:
        return "\n".join(f"-- {node}\n{self.cluster.log_tail(node, LOG_LINES)}" for node in self.cluster.nodes)


def python_s() -> float:
    """What a Python process may take to start on this machine as it is now; not part of what we promise."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import mltbctl.demo.runs"], check=True)
    return 1.0 + 4 * (time.monotonic() - began)


def _loopback() -> str:
    """An address on loopback that no other run has: ports of clusters side by side are never the same."""
    chance = random.SystemRandom()
    return f"127.{chance.randrange(1, 255)}.{chance.randrange(256)}.{chance.randrange(1, 255)}"


def _cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
