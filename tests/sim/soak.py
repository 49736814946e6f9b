"""Run many seeds by hand: `python -m tests.sim.soak FROM COUNT`. Says how fast, and which seeds failed why."""

from __future__ import annotations

import sys
import time

from tests.sim.scenario import run_seed


def main(arguments: list[str]) -> int:
    first, count = int(arguments[0]), int(arguments[1])
    began, events, failed = time.monotonic(), 0, 0
    for seed in range(first, first + count):
        outcome = run_seed(seed)
        events += outcome.events
        if outcome.failed:
            failed += 1
            words = "; ".join(str(verdict) for verdict in outcome.failed)
            print(f"seed {seed} ({outcome.shape.describe()}): {words}", flush=True)
    took = time.monotonic() - began
    print(f"{count} seeds, {failed} failed, {took:.1f} s, {1000 * took / count:.0f} ms each, {events} events")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
