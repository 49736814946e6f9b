"""Real nodes on loopback: their files, ports and processes, and the death of a whole node at once."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mltbctl.demo.sweep import MARK_VARIABLE, descendants, kill_all, marked

NODES_MAX = 7
HOST = "127.0.0.1"
LEASE_S = 3.0
STOP_S = 1.5
"""How long nodes may take to end after SIGTERM before they are told again, and after that are killed."""
PORTS_FROM = 10_000
PORT_TRIES = 1000
SOCKET_PATH_BYTES_MAX = 107
LOG_TAIL_LINES = 12
_PASSED_ON = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")


class ClusterError(Exception):
    """The demo's cluster cannot be set up; the message says why."""


@dataclass(frozen=True, slots=True)
class NodePlan:
    """What one node is given."""

    node: str
    port: int
    priority: int
    directory: Path
    host: str = HOST

    @property
    def config(self) -> Path:
        """Its configuration file."""
        return self.directory / "mltb.toml"

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return self.directory / "log"

    @property
    def socket(self) -> Path:
        """Its control socket."""
        return self.directory / "run" / "mltb" / f"{self.node}.sock"

    def command(self) -> list[str]:
        """The command that runs it."""
        state, runtime = self.directory / "state", self.directory / "run"
        daemon = [sys.executable, "-m", "mltbd.main", "run", "--config", str(self.config)]
        return [*daemon, "--state-dir", str(state), "--runtime-dir", str(runtime)]


@dataclass(frozen=True, slots=True)
class Workload:
    """What the owner runs."""

    command: Sequence[str]
    environment: Mapping[str, str]


class Cluster:
    """Nodes n1, n2, ... in one directory. Use as a context: leaving it ends every process of theirs."""

    nodes_max = NODES_MAX

    def __init__(
        self,
        size: int,
        directory: Path,
        workload: Workload,
        command: Callable[[NodePlan], list[str]] = NodePlan.command,
        options: Mapping[str, object] | None = None,
        hosts: Sequence[str] = (),
    ) -> None:
        """Plans the nodes and writes their files. ClusterError for a size or a path that cannot work.

        `options` are options of the configuration for all nodes, over the demo's own; `hosts` their addresses
        where they do not share loopback.
        """
        if not 1 <= size <= self.nodes_max:
            raise ClusterError(f"{size} nodes are outside 1 to {self.nodes_max}")
        # The whole path: clusters in directories of one name run side by side, and each ends its own processes.
        self.mark = str(directory)
        self.directory = directory
        self._command = command
        self._options = options or {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        ports = free_port_pairs(size)
        self.plans = {
            f"n{i + 1}": NodePlan(f"n{i + 1}", ports[i], max(100 - 10 * i, 0), directory / f"n{i + 1}", host)
            for i, host in enumerate(hosts or [HOST] * size)
        }
        self._write_files(workload)

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def nodes(self) -> list[str]:
        """All node ids, in order."""
        return list(self.plans)

    @property
    def started(self) -> list[str]:
        """Nodes that were started and neither killed nor waited for since."""
        return list(self._processes)

    def start(self, node: str) -> None:
        """Starts a node that does not run. OSError when that fails."""
        plan = self.plans[node]
        with plan.log.open("ab") as log:
            self._processes[node] = subprocess.Popen(
                self._command(plan),
                cwd=plan.directory,
                env=clean_environment(f"{self.mark}/{node}"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def pid(self, node: str) -> int:
        """The process that was started for the node: its guard."""
        return self._processes[node].pid

    def wait(self, node: str, timeout_s: float) -> int:
        """The exit code of a node that was told to end. subprocess.TimeoutExpired when it goes on."""
        code = self._processes[node].wait(timeout_s)
        del self._processes[node]
        return code

    def kill(self, node: str) -> int:
        """SIGKILLs every process of the node: guard, daemon, workload, all descendants. Returns how many."""
        process = self._processes.pop(node)
        killed = kill_all(lambda: descendants(process.pid) | self.processes(node), first=[process.pid])
        process.wait()
        return killed

    def stop(self) -> None:
        """Ends all nodes: asks them, asks again, then kills whatever is left. Safe to repeat."""
        for _ in range(2):
            # Asked properly, a guard gives back what it holds besides processes, such as control groups.
            for process in self._processes.values():
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)
            deadline = time.monotonic() + STOP_S
            for process in self._processes.values():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(max(deadline - time.monotonic(), 0.01))
        for node, process in list(self._processes.items()):
            kill_all(partial(self.processes, node), first=[process.pid])
            process.wait()
            del self._processes[node]

    def processes(self, node: str) -> set[int]:
        """Pids of all living processes that carry the node's mark."""
        return marked(f"{self.mark}/{node}")

    def ended(self) -> dict[str, int]:
        """Nodes that ended without being told to, with their exit codes."""
        codes = {node: process.poll() for node, process in self._processes.items()}
        return {node: code for node, code in codes.items() if code is not None}

    def log_tail(self, node: str, lines: int = LOG_TAIL_LINES) -> str:
        """The last lines the node wrote."""
        with contextlib.suppress(OSError):
            text = self.plans[node].log.read_text(errors="replace")
            return "\n".join(text.splitlines()[-lines:])
        return ""

    def _write_files(self, workload: Workload) -> None:
        from mltb_transport.keys import new_secret

        secret = new_secret()
        seeds = [f"{plan.host}:{plan.port}" for plan in self.plans.values()]
        for plan in self.plans.values():
            if len(os.fsencode(plan.socket)) > SOCKET_PATH_BYTES_MAX:
                raise ClusterError(f"the path `{plan.socket}` is too long for a socket")
            for directory in (plan.directory, plan.directory / "run", plan.directory / "state"):
                directory.mkdir(mode=0o700)
            environment = {**clean_environment(f"{self.mark}/{plan.node}"), **workload.environment}
            text = _toml(
                {
                    "CLUSTER_ENABLED": True,
                    "CLUSTER_NAME": "demo",
                    "CLUSTER_NODE_ID": plan.node,
                    "CLUSTER_ADDRESS": plan.host,
                    "CLUSTER_PORT": plan.port,
                    "CLUSTER_SEED_NODES": [seed for seed in seeds if seed != f"{plan.host}:{plan.port}"],
                    "CLUSTER_SECRET": secret,
                    "CLUSTER_NODE_PRIORITY": plan.priority,
                    "CLUSTER_LEASE_DURATION": LEASE_S,
                    "CLUSTER_BOOTSTRAP": plan.node == "n1",
                    "HA_MIN_NODES": len(self.plans),
                    "HA_QUORUM_SIZE": len(self.plans) // 2 + 1,
                    "FAILOVER_ENABLED": True,
                    # Moves in the demo are asked for: none of its own accord while it measures.
                    "FAILOVER_RECOVERY_WAIT_TIME": 3600,
                    **self._options,
                }
            )
            table = {"command": list(workload.command), "preferred": ["n1"]}
            text += "\n[workload.main]\n" + _toml(table) + "\n[workload.main.env]\n" + _toml(environment)
            text += "\n[api]\nport = 0\n"
            plan.config.touch(mode=0o600)
            plan.config.write_text(text)


def clean_environment(mark: str) -> dict[str, str]:
    """For a process of the demo: none of the user's own settings, the same Python path, the mark."""
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path if os.path.isdir(entry or "."))
    return {**kept, "PYTHONPATH": path, MARK_VARIABLE: mark}


def free_port_pairs(count: int) -> list[int]:
    """Ports p where p and p + 1 are free on loopback now, below the range that outgoing connections take.

    A node keeps its ports over its restarts, so no connection may land on them meanwhile. ClusterError when
    there are too few.
    """
    chance = random.SystemRandom()
    pairs: list[int] = []
    held: list[socket.socket] = []
    try:
        for _ in range(PORT_TRIES):
            if len(pairs) == count:
                return pairs
            port = chance.randrange(PORTS_FROM, _outgoing_ports_from() - 1, 2)
            sockets = [socket.socket() for _ in range(2)]
            held += sockets
            try:
                for offset, listener in enumerate(sockets):
                    listener.bind((HOST, port + offset))
            except OSError:
                continue
            pairs.append(port)
    finally:
        for listener in held:
            listener.close()
    if len(pairs) == count:
        return pairs
    raise ClusterError(f"no {count} free pairs of ports found on {HOST}")


def _outgoing_ports_from() -> int:
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        first = 32_768
    return first if first > PORTS_FROM + 1000 else 65_535


def _toml(values: Mapping[str, object]) -> str:
    # JSON's strings, numbers, booleans and lists are TOML's as well.
    return "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items())
