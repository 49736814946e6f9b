"""Machines with cables: a network namespace for each node, a bridge between them, and ways to break it.

Needs root, `ip` and `nsenter`; `missing` says what is not there. Everything is named after this process, and taken
away again; `sweep` removes what a killed run left.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from mltbctl.demo.cluster import NodePlan

PREFIX = "mltbtest"
NETWORK = "10.77.0"
_numbers = itertools.count()


def missing() -> str:
    """What this machine lacks for namespaces; empty when it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "network namespaces need Linux and root"
    for tool in ("ip", "nsenter"):
        if shutil.which(tool) is None:
            return f"network namespaces need `{tool}`"
    probe = f"{PREFIX}-{os.getpid()}-probe"
    if subprocess.run(["ip", "netns", "add", probe], capture_output=True, check=False).returncode:
        return "this machine makes no network namespaces"
    ip("netns", "del", probe)
    return ""


def ip(*words: str) -> str:
    """Runs `ip`. AssertionError with what it said when it fails."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"
    return done.stdout


def sweep() -> list[str]:
    """Removes the namespaces of test runs that are over. Returns their names."""
    gone = []
    for line in ip("netns", "list").splitlines():
        name = line.split()[0]
        prefix, _, rest = name.partition("-")
        pid = rest.partition("-")[0]
        if prefix == PREFIX and pid.isdigit() and not Path(f"/proc/{pid}").exists():
            with contextlib.suppress(AssertionError):  # Another run sweeps as well.
                ip("netns", "del", name)
                gone.append(name)
    return gone


class Wires(Protocol):
    """What a cluster needs to know of the machines that it runs on."""

    hosts: list[str]

    def command(self, plan: NodePlan) -> list[str]:
        """How a node is run in its machine."""
        ...


class Cables:
    """`size` machines n1, n2, ... on one bridge. Use as a context."""

    def __init__(self, size: int) -> None:
        self.nodes = [f"n{i + 1}" for i in range(size)]
        self.hosts = [f"{NETWORK}.{i + 1}" for i in range(size)]
        self._mark = f"{PREFIX}-{os.getpid()}-{next(_numbers)}"
        self._hub = self._name("hub")

    def __enter__(self) -> Cables:
        sweep()
        ip("netns", "add", self._hub)
        ip("-n", self._hub, "link", "add", "br0", "type", "bridge")
        ip("-n", self._hub, "link", "set", "br0", "up")
        for place, node in enumerate(self.nodes):
            space = self._name(node)
            ip("netns", "add", space)
            ip("-n", self._hub, "link", "add", f"h-{node}", "type", "veth", "peer", "name", "eth0", "netns", space)
            ip("-n", space, "link", "set", "eth0", "address", mac(node))
            ip("-n", space, "address", "add", f"{self.hosts[place]}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                ip("-n", space, "link", "set", device, "up")
            ip("-n", self._hub, "link", "set", f"h-{node}", "master", "br0", "up")
        return self

    def __exit__(self, *_: object) -> None:
        for space in [self._hub, *map(self._name, self.nodes)]:
            with contextlib.suppress(AssertionError):
                ip("netns", "del", space)

    def command(self, plan: NodePlan) -> list[str]:
        """How a node is run in its machine."""
        return [*self.within(plan.node), *plan.command()]

    def readdress(self, **hosts: str) -> None:
        """These machines are given other addresses, all at one moment: what was bound to the old ones breaks."""
        for node in hosts:
            ip("-n", self._name(node), "address", "flush", "dev", "eth0", "scope", "global")
        for node, host in hosts.items():
            self.hosts[self.nodes.index(node)] = host
            ip("-n", self._name(node), "address", "add", f"{host}/24", "dev", "eth0")

    def within(self, node: str) -> list[str]:
        """The words before a command that is run in this machine."""
        return ["nsenter", f"--net=/run/netns/{self._name(node)}"]

    # -- what can happen to them -----------------------------------------------------------------------------

    def pull(self, node: str) -> None:
        """The cable comes out."""
        ip("-n", self._hub, "link", "set", f"h-{node}", "down")

    def plug(self, node: str) -> None:
        """And in again."""
        ip("-n", self._hub, "link", "set", f"h-{node}", "up")

    def cut(self, source: str, target: str) -> None:
        """What `source` sends to `target` goes nowhere, silently; the other way is open."""
        self._neighbour("replace", source, target, "lladdr", "02:00:00:00:ff:ff", "nud", "permanent")

    def mend(self, source: str, target: str) -> None:
        """`source` finds `target` again."""
        self._neighbour("replace", source, target, "lladdr", mac(target), "nud", "reachable")

    @contextlib.contextmanager
    def without(self, *pairs: tuple[str, str]) -> Iterator[None]:
        """These ways (from, to) are cut for as long as the context lasts."""
        for source, target in pairs:
            self.cut(source, target)
        try:
            yield
        finally:
            for source, target in pairs:
                self.mend(source, target)

    @contextlib.contextmanager
    def slow(self, node: str, delay_s: float) -> Iterator[None]:
        """Every frame to and from this machine passes a relay that holds it for `delay_s`."""
        port, relay = f"h-{node}", [f"r-{node}", f"s-{node}"]
        ip("-n", self._hub, "link", "add", relay[0], "type", "veth", "peer", "name", relay[1])
        ip("-n", self._hub, "link", "set", port, "nomaster")
        ip("-n", self._hub, "link", "set", relay[1], "master", "br0", "up")
        for device in (relay[0], port):
            ip("-n", self._hub, "link", "set", device, "promisc", "on", "up")
        script = Path(__file__).parent / "slow_wire.py"
        words = [sys.executable, str(script), port, relay[0], str(delay_s)]
        enter = ["nsenter", f"--net=/run/netns/{self._hub}"]
        process = subprocess.Popen([*enter, *words], stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield
        finally:
            process.kill()
            process.communicate()
            ip("-n", self._hub, "link", "del", relay[0])
            ip("-n", self._hub, "link", "set", port, "master", "br0")

    def _neighbour(self, verb: str, source: str, target: str, *words: str) -> None:
        host = self.hosts[self.nodes.index(target)]
        ip("-n", self._name(source), "neighbour", verb, host, "dev", "eth0", *words)

    def _name(self, node: str) -> str:
        return f"{self._mark}-{node}"


def mac(node: str) -> str:
    """The hardware address of a node's card."""
    return f"02:00:00:00:00:{int(node[1:]):02x}"


def both_ways(one: str, *others: str) -> list[tuple[str, str]]:
    """Every way between one machine and the others."""
    return [pair for other in others for pair in ((one, other), (other, one))]
