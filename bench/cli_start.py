"""How long `mltbctl` takes to start, against `python -c 'import typer'`, side by side.

`python bench/cli_start.py [ROUNDS]` starts a control socket that answers `status`, warms the bytecode caches, then
times each command in turn, ROUNDS times (default 31), and prints medians and ratios. Exit code 1 when over budget.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "daemon"), str(ROOT / "transport")]

from tests.mltbctl.fake_daemon import FakeDaemon  # noqa: E402
from tests.mltbctl.fake_store import FakeStore  # noqa: E402
from tests.mltbctl.pictures import healthy  # noqa: E402

ROUNDS = 31
BASE = "python -c 'import typer'"
ENTRY = "from mltbctl.cli import app; app()"  # what the installed script does
BUDGETS = {"mltbctl status": 1.6, "mltbctl --help": 2.5}
LOCK_RUN = "mltbctl lock run k -- true"
LOCK_RUN_BUDGET = 1.3
"""Against `mltbctl status`; two more round trips, two more processes and the command itself are in it."""


def main() -> int:
    """Measure and print; 0 when every ratio is within its budget."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with tempfile.TemporaryDirectory() as directory:
        socket = Path(directory) / "mltb" / "n2.sock"
        with FakeDaemon(socket, {"status": lambda _: healthy(), **FakeStore().answers()}):
            medians = measure(rounds, environment(directory))
    base = medians[BASE]
    within = True
    for name, median in medians.items():
        budget = BUDGETS.get(name)
        within = within and (budget is None or median / base <= budget)
        allowed = f"  (budget {budget})" if budget else ""
        print(f"{name:<26} {median * 1000:7.1f} ms   x {median / base:.2f}{allowed}")
    ratio = medians[LOCK_RUN] / medians["mltbctl status"]
    print(f"{LOCK_RUN} against mltbctl status: x {ratio:.2f}  (budget {LOCK_RUN_BUDGET})")
    return 0 if within and ratio <= LOCK_RUN_BUDGET else 1


def environment(directory: str) -> dict[str, str]:
    """That of this process, with bytecode caches on and the socket of this bench."""
    result = {key: value for key, value in os.environ.items() if not key.startswith(("MLTB", "PYTHON", "CLUSTER_"))}
    paths = [str(ROOT), str(ROOT / "daemon"), str(ROOT / "transport")]
    return result | {"PYTHONPATH": os.pathsep.join(paths), "MLTB_RUNTIME_DIR": directory}


def measure(rounds: int, environ: dict[str, str]) -> dict[str, float]:
    """Median seconds of each command; one warm-up round, then the commands take turns."""
    python = sys.executable
    commands = {
        BASE: [python, "-c", "import typer"],
        "python -c 'import typer, zmq'": [python, "-c", "import typer, zmq"],
        "mltbctl status": [python, "-c", ENTRY, "status"],
        "mltbctl status -o json": [python, "-c", ENTRY, "status", "-o", "json"],
        LOCK_RUN: [python, "-c", ENTRY, "lock", "run", "k", "--", "true"],
        "mltbctl --help": [python, "-c", ENTRY, "--help"],
    }
    spent: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(rounds + 1):
        for name, command in commands.items():
            began = time.perf_counter()
            subprocess.run(command, env=environ, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, check=True)
            if turn:
                spent[name].append(time.perf_counter() - began)
    return {name: statistics.median(times) for name, times in spent.items()}


if __name__ == "__main__":
    sys.exit(main())
