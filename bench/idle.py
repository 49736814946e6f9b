"""What an idle cluster costs: CPU and memory of guard and daemon per node, three real nodes, side by side with nothing.

python bench/idle.py [SECONDS]; needs Linux. Compare with other systems in one run on one machine only.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from mltbctl.demo.cluster import Cluster, Workload
from mltbctl.demo.sweep import descendants

TICKS = os.sysconf("SC_CLK_TCK")
SETTLE_S = 8.0


def cpu_s(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def pss_mib(pid: int) -> float:
    """Memory of a process, shared pages divided among those that share them."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def main() -> None:
    """Print one line per node."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 30.0
    workload = Workload(["/bin/sleep", "100000"], {})
    with tempfile.TemporaryDirectory(prefix="mltb-idle-") as home, Cluster(3, Path(home), workload) as cluster:
        for node in cluster.nodes:
            cluster.start(node)
        time.sleep(SETTLE_S)
        ours = {node: ours_of(cluster, node) for node in cluster.nodes}
        before = {node: sum(map(cpu_s, pids)) for node, pids in ours.items()}
        time.sleep(seconds)
        for node, pids in ours.items():
            used = sum(map(cpu_s, pids)) - before[node]
            memory = sum(map(pss_mib, pids))
            print(f"{node}: {100 * used / seconds:.2f} % of a core, {memory:.1f} MiB PSS in {len(pids)} processes")


def ours_of(cluster: Cluster, node: str) -> list[int]:
    """Guard, sentinel and daemon of a node, without its workload."""
    guard = cluster.pid(node)
    pids = [guard, *sorted(descendants(guard))]
    return [pid for pid in pids if b"sleep" not in Path(f"/proc/{pid}/cmdline").read_bytes()]


if __name__ == "__main__":
    main()
