"""The process that simulates: a question on stdin, its answer on stdout, within limits of time and memory.

Beside the daemon, never within it: its loop must not wait for a what-if.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
from typing import Any

from mltbd.processes import die_with_parent
from mltbd.whatif.answer import ask
from mltbd.whatif.faults import HINT, FaultError, parse
from mltbd.whatif.position import unpacked
from mltbd.whatif.world import WorldError

CPU_S = 20
MEMORY_BYTES = 1024 * 1024 * 1024
NICE = 10


def main() -> int:
    """Always prints one JSON object: the answer, or {code, message, hint}."""
    question = json.load(sys.stdin)
    print(json.dumps(answer(question)))
    return 0


def answer(question: dict[str, Any]) -> dict[str, object]:
    """`question`: {fault, position}."""
    position = unpacked(question["position"])
    runs = {workload: mate.node for mate in position.mates for workload, _ in mate.runs}
    first = runs[min(runs)] if runs else ""
    try:
        fault = parse(str(question["fault"]), position.names, position.leader, runs.get("main", first))
    except FaultError as error:
        return {"code": "usage", "message": str(error), "hint": HINT}
    try:
        return ask(position, fault)
    except WorldError as error:
        return {"code": "failed", "message": f"the simulation was given up: {error}", "hint": "mltbctl status"}


if __name__ == "__main__":
    die_with_parent(os.getppid())
    with contextlib.suppress(OSError, ValueError):
        os.nice(NICE)
    for limit, value in ((resource.RLIMIT_CPU, CPU_S), (resource.RLIMIT_AS, MEMORY_BYTES)):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(limit, (value, value))
    sys.exit(main())
