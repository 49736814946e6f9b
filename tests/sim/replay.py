"""Replay a seed and tell its story: `python -m tests.sim.replay SEED [LINES] [SCENARIO]`."""

from __future__ import annotations

import sys

from tests.sim.scenarios import SCENARIOS


def main(arguments: list[str]) -> int:
    seed, last, what, *_ = (*arguments, *("", "200", "storm")[len(arguments) :])
    outcome = SCENARIOS[what](int(seed))
    print(outcome.explain(int(last)))
    print("FAILED" if outcome.failed else "all promises kept")
    return 1 if outcome.failed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
