"""Does a starved machine cause false failovers? Three real nodes, and a busy loop on every core.

python bench/starved.py SECONDS [LEASE] prints how often the workload was started, how often the leader changed.
Exits 1 when the workload was started more than once.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mltbctl.client import Client, MltbError
from mltbctl.demo.cluster import Cluster, Workload
from mltbctl.demo.runs import overlaps, read_runs

BUSY = "while True: pass"
RECORD = """
import os, time
from pathlib import Path
from mltbctl.demo.runs import BEAT_S, RunRecord
record = RunRecord(Path(os.environ["RUNS"]), os.environ["MLTB_NODE_ID"], int(os.environ["MLTB_TOKEN"]))
while True:
    record.beat()
    time.sleep(BEAT_S)
"""
SETTLE_S = 6.0


def main() -> int:
    """Run for as long as asked, then say what happened."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    lease_s = float(sys.argv[2]) if len(sys.argv) > 2 else 1.0
    busy: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory(prefix="mltb-starved-") as home:
        runs_dir = Path(home) / "runs"
        runs_dir.mkdir()
        (Path(home) / "c").mkdir()
        workload = Workload([sys.executable, "-c", RECORD], {"RUNS": str(runs_dir)})
        options = {"CLUSTER_LEASE_DURATION": lease_s}
        with Cluster(3, Path(home) / "c", workload, options=options) as cluster:
            for node in cluster.nodes:
                cluster.start(node)
            time.sleep(SETTLE_S)
            try:
                busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(os.cpu_count() or 1)]
                terms = watch(cluster, seconds)
            finally:
                for process in busy:
                    process.kill()
                    process.wait()
            runs = read_runs(runs_dir)
    print(f"{seconds:.0f} s at a lease of {lease_s:g} s, every core busy: started {len(runs)} times,", end=" ")
    print(f"{max(terms) - min(terms) if terms else '?'} changes of leader, {len(overlaps(runs))} overlaps")
    return 0 if len(runs) == 1 else 1


def watch(cluster: Cluster, seconds: float) -> list[int]:
    """The terms seen, once a second."""
    terms = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            with Client(str(cluster.plans["n2"].socket), timeout=2) as client:
                terms.append(int(client.status()["cluster"]["term"]))
        except MltbError:
            pass
        time.sleep(1)
    return terms


if __name__ == "__main__":
    sys.exit(main())
