"""Run many seeds by hand: `python -m tests.sim.soak FROM COUNT [SCENARIO]`. Says how fast, and which failed why."""

from __future__ import annotations

import sys
import time

from tests.sim.scenarios import SCENARIOS


def main(arguments: list[str]) -> int:
    first, count, *what = arguments
    run = SCENARIOS[what[0] if what else "storm"]
    began, failed = time.monotonic(), 0
    for seed in range(int(first), int(first) + int(count)):
        outcome = run(seed)
        if outcome.failed:
            failed += 1
            words = "; ".join(str(verdict) for verdict in outcome.failed)
            print(f"seed {seed} ({outcome.shape.describe()}): {words}", flush=True)
    took = time.monotonic() - began
    print(f"{count} seeds, {failed} failed, {took:.1f} s, {1000 * took / int(count):.0f} ms each")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
