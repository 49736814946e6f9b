"""Locks and state under load: three real nodes on this machine, every write on disk at two, beside etcd in one run.

python bench/coordination.py [--seconds S] [--clients 1,16,64] [--etcd DIRECTORY] [--only set,get,...] [--check-perf]

Ours is asked through the public SDK (`mltbctl.client`, a thread and a Client per client; those of a process that
begin with the same node share a connection and travel in bundles); etcd through its HTTP gateway with a kept
connection per client from the same kind of Python threads, since there is no gRPC client without a dependency. Both
so pay for a Python client; the gateway costs etcd something on top. `--check-perf` also runs etcd's
own `etcdctl check perf`, which speaks gRPC. Clients are spread over all three nodes of either. Compare within one run
on one machine only. etcd is left out where there is no `etcd` in the path or the directory.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import http.client
import json
import math
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "daemon"), str(ROOT / "transport")]

from mltbctl.client import Client, MltbError  # noqa: E402
from mltbctl.demo.cluster import Cluster, Workload  # noqa: E402

OPERATIONS = {
    "set": "state set, own keys",
    "get": "state get, linearizable",
    "lock": "lock acquire + release, own keys",
    "contended": "lock acquire + release, one key for all",
}
VALUE = "x" * 100
WARM_UP_S = 0.5
PROCESSES_MAX = 4
READY_S = 40.0
BAR_WIDTH = 32

Step = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Load:
    """One cell of the table, as a worker process gets it."""

    system: str
    operation: str
    endpoints: list[str]
    first: int
    threads: int
    seconds: float


# -- what one client does ---------------------------------------------------------------------------------------


def ours(load: Load, number: int) -> Step:
    """One operation through the SDK; the argument counts them."""
    client = Client(*rotated(load.endpoints, number), timeout=30)
    match load.operation:
        case "set":
            return lambda turn: drop(client.state.set(f"bench/{number}/{turn % 16}", VALUE))
        case "get":
            client.state.set(f"bench/{number}", VALUE)
            return lambda _: drop(client.state.get(f"bench/{number}"))
    name = f"lock/{number}" if load.operation == "lock" else "lock/all"
    return lambda _: drop(client.locks.release(client.locks.acquire(name, ttl=60, wait=60)))


def theirs(load: Load, number: int) -> Step:
    """One operation through etcd's HTTP gateway."""
    host, _, port = rotated(load.endpoints, number)[0].rpartition(":")
    line = http.client.HTTPConnection(host, int(port), timeout=70)

    def call(path: str, **body: object) -> dict[str, str]:
        line.request("POST", f"/v3/{path}", json.dumps(body), {"Content-Type": "application/json"})
        answer = line.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise OSError(f"etcd: {answer.status} {text[:200]!r}")
        told: dict[str, str] = json.loads(text)
        return told

    match load.operation:
        case "set":
            return lambda turn: drop(call("kv/put", key=text64(f"bench/{number}/{turn % 16}"), value=text64(VALUE)))
        case "get":
            call("kv/put", key=text64(f"bench/{number}"), value=text64(VALUE))
            return lambda _: drop(call("kv/range", key=text64(f"bench/{number}")))
    # A lock of etcd's waits for every older key below its name, so it has to be a name of its own.
    name = text64(f"lock/{number}" if load.operation == "lock" else "lock/all")
    lease = call("lease/grant", TTL=600)["ID"]
    return lambda _: drop(call("lock/unlock", key=call("lock/lock", name=name, lease=lease)["key"]))


def drop(_: object) -> None:
    """The answer is of no interest."""


def rotated(endpoints: list[str], number: int) -> list[str]:
    """Client `number` begins with another node than its neighbour."""
    first = number % len(endpoints)
    return endpoints[first:] + endpoints[:first]


def text64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


# -- a worker process -------------------------------------------------------------------------------------------


def worker(load: Load) -> None:
    """Run the clients of this process at once; print how long each operation took, as JSON."""
    spent: list[float] = []
    ready = threading.Barrier(load.threads + 1)

    def client(number: int) -> None:
        step = (ours if load.system == "mltbd" else theirs)(load, number)
        step(0)
        ready.wait()
        begin = time.monotonic() + WARM_UP_S
        mine: list[float] = []
        turn = 0
        while (before := time.monotonic()) < begin + load.seconds:
            turn += 1
            step(turn)
            if before >= begin:
                mine.append(time.monotonic() - before)
        spent.extend(mine)

    def client_or_end(number: int) -> None:
        try:
            client(number)
        except BaseException as error:  # One client less would measure something else.
            print(f"client {number}: {error!r}", file=sys.stderr)
            os._exit(1)

    threads = [threading.Thread(target=client_or_end, args=(load.first + each,)) for each in range(load.threads)]
    for thread in threads:
        thread.start()
    ready.wait()
    for thread in threads:
        thread.join()
    print(json.dumps(spent))


def measure(system: str, operation: str, endpoints: list[str], clients: int, seconds: float) -> list[float]:
    """Seconds of every operation of `clients` at once, spread over some processes."""
    processes = min(clients, PROCESSES_MAX)
    shares = [clients // processes + (each < clients % processes) for each in range(processes)]
    running = []
    for each, share in enumerate(shares):
        load = {
            "system": system, "operation": operation, "endpoints": endpoints, "first": sum(shares[:each]),
            "threads": share, "seconds": seconds,
        }  # fmt: skip
        command = [sys.executable, __file__, "--worker", json.dumps(load)]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE))
    spent: list[float] = []
    for process in running:
        told, _ = process.communicate()
        if process.returncode:
            raise SystemExit(f"a worker failed at {system} {operation} with {clients} clients")
        spent += json.loads(told)
    return sorted(spent)


# -- the systems ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def our_cluster(home: Path) -> Iterator[list[str]]:
    """Three nodes; yields their sockets."""
    home.mkdir()
    with Cluster(3, home, Workload(["/bin/sleep", "100000"], {})) as cluster:
        for node in cluster.nodes:
            cluster.start(node)
        sockets = [str(plan.socket) for plan in cluster.plans.values()]
        wait_for(lambda: all(writes(path) for path in sockets), "our nodes")
        yield sockets


def writes(path: str) -> bool:
    try:
        with Client(path, timeout=5) as client:
            client.state.set("bench/ready", path)
    except MltbError:
        return False
    return True


@contextlib.contextmanager
def their_cluster(home: Path, binary: str) -> Iterator[list[str]]:
    """Three members of etcd with its defaults; yields `host:port` of each."""
    home.mkdir()
    ports = free_ports(6)
    names = [f"e{number}" for number in range(3)]
    members = ",".join(f"{name}=http://127.0.0.1:{port}" for name, port in zip(names, ports[3:], strict=True))
    running = []
    try:
        for name, client, peer in zip(names, ports, ports[3:], strict=False):
            options = {
                "name": name, "data-dir": str(home / name), "initial-cluster": members,
                "listen-client-urls": f"http://127.0.0.1:{client}", "advertise-client-urls": f"http://127.0.0.1:{client}",
                "listen-peer-urls": f"http://127.0.0.1:{peer}", "initial-advertise-peer-urls": f"http://127.0.0.1:{peer}",
            }  # fmt: skip
            command = [binary, *(f"--{option}={value}" for option, value in options.items())]
            with (home / f"{name}.log").open("wb") as log:
                running.append(subprocess.Popen(command, stdout=log, stderr=log))
        endpoints = [f"127.0.0.1:{port}" for port in ports[:3]]
        wait_for(lambda: all(puts(endpoint) for endpoint in endpoints), "etcd")
        yield endpoints
    finally:
        for process in running:
            process.kill()
            process.wait()


def puts(endpoint: str) -> bool:
    try:
        theirs(Load("etcd", "set", [endpoint], 0, 1, 0.0), 0)(0)
    except (OSError, http.client.HTTPException):
        return False
    return True


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


def wait_for(ready: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + READY_S
    while not ready():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} did not come up within {READY_S:g} s")
        time.sleep(0.1)


# -- what is printed --------------------------------------------------------------------------------------------


def percentile(spent: Sequence[float], share: float) -> float:
    """Of a sorted list, in milliseconds."""
    return spent[min(len(spent) - 1, math.floor(share * len(spent)))] * 1000 if spent else math.nan


def report(operation: str, clients: int, system: str, spent: Sequence[float], seconds: float, most: float) -> float:
    """One line of the table, with a bar against the best of its group; returns operations per second."""
    rate = len(spent) / seconds
    bar = "#" * round(BAR_WIDTH * rate / most) if most else ""
    p50, p99 = percentile(spent, 0.5), percentile(spent, 0.99)
    print(f"{operation:<10} {clients:>4}  {system:<6} {rate:>9.0f}/s  p50 {p50:>8.2f} ms  p99 {p99:>8.2f} ms  {bar}")
    return rate


def main() -> None:
    """Start both, measure every cell of ours and theirs one after the other, print."""
    given = arguments()
    if given.worker:
        worker(Load(**json.loads(given.worker)))
        return
    found = shutil.which("etcd", path=os.pathsep.join([given.etcd, os.environ.get("PATH", "")]))
    with (
        tempfile.TemporaryDirectory(prefix="mltb-bench-", dir=given.directory) as home,
        contextlib.ExitStack() as stack,
    ):
        systems = {"mltbd": stack.enter_context(our_cluster(Path(home) / "m"))}
        if found:
            systems["etcd"] = stack.enter_context(their_cluster(Path(home) / "e", found))
        print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f} before; {given.seconds:g} s a cell")
        print(__doc__.split("\n\n")[2] if found else "etcd is not installed: ours alone")
        for operation in given.only.split(","):
            print(f"\n{OPERATIONS[operation]}")
            for clients in map(int, given.clients.split(",")):
                cells = {
                    system: measure(system, operation, ends, clients, given.seconds) for system, ends in systems.items()
                }
                most = max(len(spent) for spent in cells.values()) / given.seconds
                for system, spent in cells.items():
                    report(operation, clients, system, spent, given.seconds, most)
        if found and given.check_perf:
            control = str(Path(found).parent / "etcdctl")
            ends = ",".join(systems["etcd"])
            subprocess.run([control, f"--endpoints={ends}", "check", "perf", "--load=l"],
                           env=os.environ | {"ETCDCTL_API": "3"}, check=False)  # fmt: skip


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="locks and state under load, beside etcd")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each cell of the table")
    parser.add_argument("--clients", default="1,16,64")
    parser.add_argument("--only", default=",".join(OPERATIONS), help=f"of {', '.join(OPERATIONS)}")
    parser.add_argument("--etcd", default="", help="directory of etcd and etcdctl, besides the path")
    parser.add_argument("--directory", default=None, help="where the data goes; the disk matters")
    parser.add_argument("--check-perf", action="store_true", help="run `etcdctl check perf` as well: a minute")
    parser.add_argument("--worker", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
