"""What a guard costs: CPU while it waits, memory of guard and sentinel, and how fast each kill path is.

Run it as `python -m bench.guard_idle [SECONDS]` from the root of the repository, on an idle machine.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mltbd.cages import PATHS, sites_here, works
from mltbd.processes import boottime_s
from tests.daemon import trees
from tests.daemon.guarded import Guarded, alive, until

ROUNDS = 10
RENEW_S = 0.4


def cpu_s(pid: int) -> float:
    """User and system time so far, by the scheduler's own nanosecond count where there is one."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def memory_kib(pid: int) -> dict[str, int]:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    fields = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return {name: fields[name] for name in ("Rss", "Pss", "Private_Dirty")}


def idle(seconds: float) -> None:
    """Without a workload, and with one whose lease is renewed like a 3 s lease is."""
    with tempfile.TemporaryDirectory() as base, Guarded(Path(base)).meet() as guarded:
        watched = {"guard": guarded.guard.pid, "sentinel": guarded.sentinel().pid}
        for name, workload in (("nothing runs", False), ("a workload runs", True)):
            if workload:
                guarded.run(trees.plain(Path(base)), seconds=2.5)
            before = {who: cpu_s(pid) for who, pid in watched.items()}
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                if workload:
                    guarded.arm(2.5)
                time.sleep(RENEW_S)
            for who, pid in watched.items():
                share = (cpu_s(pid) - before[who]) / seconds
                print(f"{name}: {who} uses {share:.4%} of a core, memory in KiB {memory_kib(pid)}")


def latency(path: str) -> None:
    """From the deadline to the death of a grandchild that ignores SIGTERM, and to the report."""
    if path != "walk" and not any(works(site, "bench.") for site in sites_here() if site.path == path):
        print(f"{path}: does not work on this machine")
        return
    dead, told = [], []
    with tempfile.TemporaryDirectory() as base, Guarded(Path(base), path).meet() as guarded:
        for token in range(1, ROUNDS + 1):
            Path(base, "ready").unlink(missing_ok=True)
            deadline = guarded.arm(0.7, token)
            guarded.start(trees.daemonised(Path(base)), token)
            guarded.news("running")
            helper = guarded.written("ready")
            until(lambda row=helper: not alive(row))  # type: ignore[misc]
            dead.append(boottime_s() - deadline)
            guarded.news("gone")
            told.append(boottime_s() - deadline)
    for what, values in (("dead", dead), ("reported gone", told)):
        median_ms, worst_ms = statistics.median(values) * 1000, max(values) * 1000
        print(f"{path}: tree {what} {median_ms:.1f} ms after the deadline (median), {worst_ms:.1f} ms (worst)")


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    release, rows = os.uname().release, len(list(Path("/proc").glob("[0-9]*")))
    print(f"Linux {release}, Python {sys.version.split()[0]}, {rows} processes")
    idle(seconds)
    for path in PATHS:
        latency(path)
    subprocess.run(["uptime"], check=False)


if __name__ == "__main__":
    main()
